"""A run on class folders with a test part: the inputs of what serves a bundle without melanoma."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hand_built import hand_built

from melanoma.data.arrays import ImageArray
from melanoma.data.phantoms.dataset import make_phantoms
from melanoma.evaluation.report.build import Report
from melanoma.recipe.overrides import make_recipe
from melanoma.recipe.recipe import Recipe
from melanoma.workflows.evaluate import evaluate_folds
from melanoma.workflows.external import evaluate_test
from melanoma.workflows.prepare import prepare_array
from melanoma.workflows.split import split_folds
from melanoma.workflows.train import select_folds, train_fold
from melanoma.workflows.watch import Watch

# Their names hold what a table, an address or a page could trip over.
ODD_CLASSES = {
    "melanoma": "Infestations & Bites",
    "nevus": 'Rash, "other"',
    "unknown": "Nævus à la carte <b>",
}


@dataclass(frozen=True)
class FolderRun:
    """A run on class folders of phantoms with a test part, from the tree to the sealed bundle.

    `asked` are the array's rows that training read.
    """

    recipe: Recipe
    tree: Path
    arrays: Path
    folds: Path
    weights: Path
    asked: frozenset[int]

    def evaluate(self) -> Report | None:
        """The test part's report by the bundle as it is now."""
        say = Watch(say=lambda line: print(line, file=sys.stderr))
        given = (self.weights, self.folds, self.tree, self.arrays)
        return evaluate_test(*given, device="cpu", watch=say)


def write_tree(folder: Path, names: Mapping[str, str], *, images: int = 120) -> Path:
    """Phantoms as class folders: FOLDER/CLASS/PATIENT-N.jpg, one name in several classes."""
    make_phantoms(folder / "drawn", images=images, patients=40, size=48, seed=3)
    table = pd.read_csv(folder / "drawn/train.csv")
    for diagnosis, rows in table.groupby("diagnosis"):
        (folder / "tree" / names[diagnosis]).mkdir(parents=True)
        numbers = rows.groupby("patient_id").cumcount()
        for number, row in zip(numbers, rows.itertuples(), strict=True):
            file = folder / "tree" / names[diagnosis] / f"{row.patient_id}-{number}.jpg"
            (folder / f"drawn/jpeg/train/{row.image_name}.jpg").rename(file)
    return folder / "tree"


def train_on_folders(base: Path) -> FolderRun:
    """Two small ResNets on three classes, none of them melanoma, set by hand in `base`."""
    recipe = make_recipe(
        {
            "name": "folders",
            "classes": list(ODD_CLASSES.values()),
            "melanoma": [],
            "data": {"reader": "class_folders", "group_pattern": "^(.+)-"},
            "image": {"size": 32},
            "folds": {"name": "folders", "k": 2, "holdout": 0.25},
            "model": {"backbone": "tiny_resnet"},
            "loss": {"name": "cross_entropy"},
            "optimizer": {"rate": 0.0003},
            "schedule": {"name": "constant"},
            "training": {"epochs": 1, "batch_size": 8, "precision": "float32"},
            "selection": {"keep": "last"},
            "evaluation": {"resamples": 100},
        }
    )
    tree, folds, arrays = write_tree(base, ODD_CLASSES), base / "folds.csv", base / "arrays"
    prepare_array(recipe, tree, arrays)
    split_folds(recipe, tree, arrays, folds)
    parts = select_folds(recipe, data=tree, arrays=arrays, folds=folds)
    asked: set[int] = set()
    with pytest.MonkeyPatch.context() as patched:
        read = ImageArray.rows

        def remember(array: ImageArray, rows: Any) -> Any:
            asked.update(int(row) for row in rows)
            return read(array, rows)

        patched.setattr(ImageArray, "rows", remember)
        with hand_built():
            for part in parts:
                train_fold(recipe, part, base / "weights", device="cpu")
    evaluate_folds(recipe, base / "weights", folds)
    return FolderRun(recipe, tree, arrays, folds, base / "weights", frozenset(asked))
