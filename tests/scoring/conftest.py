"""A bundle of two ResNet-18, trained on phantoms once a session."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from melanoma.data.array_build import build_array
from melanoma.data.arrays import ImageArray
from melanoma.data.folds import make_folds, save_folds
from melanoma.data.phantoms.dataset import make_phantoms
from melanoma.data.readers.catalog import read_lesions
from melanoma.data.readers.table import LesionTable
from melanoma.evaluate import evaluate_folds
from melanoma.models.classifier import Classifier
from melanoma.recipe.overrides import make_recipe
from melanoma.recipe.recipe import Recipe
from melanoma.scoring.bundle.bundle import load_bundle
from melanoma.scoring.scorer import Scorer
from melanoma.training.fit import fit_fold
from melanoma.training.fold_data import FoldData, select_fold
from melanoma.training.run.folder import fold_folder


@dataclass(frozen=True)
class Trained:
    """Everything that led to a bundle, and the bundle's folder.

    `seen` are the tensors (3, S, S) that entered the network in training, by fold.
    """

    recipe: Recipe
    table: LesionTable
    array: ImageArray
    parts: list[FoldData]
    folder: Path
    seen: list[Tensor]

    def photograph(self, row: int) -> bytes:
        """The file that the array's row was made of."""
        return (self.table.folder / self.table.frame["source"].iloc[row]).read_bytes()


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """On a busy machine torch's threads wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    base = tmp_path_factory.mktemp("trained")
    recipe = make_recipe(
        {
            "name": "small",
            "data": {"reader": "phantoms"},
            "image": {"size": 32},
            "folds": {"name": "small", "k": 2},
            "model": {"backbone": "resnet18", "dropout": 0.2},
            "loss": {"positive_weight": "ratio"},
            "schedule": {"name": "constant"},
            "optimizer": {"rate": 0.0003},
            "training": {"epochs": 1, "batch_size": 4, "precision": "float32"},
            "evaluation": {"resamples": 100, "views": 2},
        }
    )
    make_phantoms(base / "data", images=80, patients=30, size=48, seed=3)
    table = read_lesions(base / "data", recipe.data)
    array = build_array(table, base / "arrays", recipe.image)
    folds = make_folds(table, recipe.folds)
    save_folds(folds, base / "folds.csv")
    parts = [select_fold(array, folds, number) for number in folds.folds]
    seen = [_fit(recipe, part, base / "weights") for part in parts]
    evaluate_folds(recipe, base / "weights", base / "folds.csv")
    return Trained(recipe, table, array, parts, base / "weights", seen)


def _fit(recipe: Recipe, part: FoldData, weights: Path) -> Tensor:
    """Train a fold; returns every image as the network saw it."""
    seen: list[Tensor] = []

    def catch(module: nn.Module, arguments: tuple[Tensor]) -> None:
        if isinstance(module, Classifier) and module.training:
            seen.append(arguments[0].detach().clone())

    hook = register_module_forward_pre_hook(catch)
    try:
        fit_fold(
            recipe,
            part,
            fold_folder(weights, part.fold),
            device=torch.device("cpu"),
            imagenet=weights / "imagenet",
        )
    finally:
        hook.remove()
    return torch.cat(seen)


@pytest.fixture(scope="session")
def scorer(trained: Trained) -> Scorer:
    return Scorer(load_bundle(trained.folder))


@pytest.fixture
def copied(trained: Trained, tmp_path: Path) -> Path:
    """A bundle folder to spoil. Its files are links: unlink one before writing it anew."""
    folder = tmp_path / "copied"
    shutil.copytree(trained.folder, folder, copy_function=os.link)
    return folder
