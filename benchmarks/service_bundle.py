"""A sealed bundle of five ResNet-18 at 128 px, trained just enough to be one: for load, not skill.

python -m benchmarks.service_bundle FOLDER
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from melanoma.data.phantoms.dataset import make_phantoms
from melanoma.recipe.overrides import make_recipe
from melanoma.recipe.recipe import Recipe
from melanoma.training.fit import fit_fold
from melanoma.training.fold_data import select_fold
from melanoma.training.run.run_folder import fold_folder
from melanoma.workflows.evaluate import evaluate_folds
from melanoma.workflows.prepare import prepare_array
from melanoma.workflows.split import split_folds


def bundle_recipe() -> Recipe:
    """Five folds, one epoch each."""
    return make_recipe(
        {
            "name": "five_resnet18",
            # Not reader phantoms: a bundle that knows of them scores only where it is named.
            "data": {"reader": "siim"},
            "image": {"size": 128},
            "folds": {"name": "five", "k": 5},
            "model": {"backbone": "resnet18"},
            "optimizer": {"name": "adam", "rate": 1e-3},
            "schedule": {"name": "constant"},
            "training": {"epochs": 1, "batch_size": 16, "workers": 0, "precision": "float32"},
            "selection": {"keep": "last"},
            "evaluation": {"resamples": 100},
        }
    )


def make_bundle(base: Path, recipe: Recipe | None = None) -> Path:
    """The folder of the bundle, in `base`; as it was where it is there already."""
    weights = base / "weights"
    if (weights / "manifest.json").exists():
        return weights
    if recipe is None:
        recipe = bundle_recipe()
        make_phantoms(base / "data", images=80, patients=40, size=96, seed=0)
    array = prepare_array(recipe, base / "data", base / "arrays")
    table, _ = split_folds(recipe, base / "data", base / "arrays", base / "folds.csv")
    for fold in table.folds:
        fit_fold(
            recipe,
            select_fold(array, table, fold),
            fold_folder(weights, fold),
            device=torch.device("cpu"),
            imagenet=base / "imagenet",
        )
    evaluate_folds(recipe, weights, base / "folds.csv")
    return weights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    print(make_bundle(parser.parse_args().folder))


if __name__ == "__main__":
    main()
