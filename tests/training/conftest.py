"""Phantoms in two folds, a backbone of two convolutions, and one way to train on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_backbone import make_tiny_backbone

from melanoma.data.array_build import build_array
from melanoma.data.arrays import ImageArray
from melanoma.data.folds import FoldTable, make_folds, save_folds
from melanoma.data.phantoms.dataset import make_phantoms
from melanoma.data.readers.reader_catalog import read_lesions
from melanoma.models.backbones import BACKBONES
from melanoma.recipe.overrides import make_recipe
from melanoma.recipe.recipe import Recipe
from melanoma.recipe.sections import BINARY_CLASSES
from melanoma.training.fit import fit_fold
from melanoma.training.fold_data import FoldData, select_fold
from melanoma.training.run.run_folder import FoldRun

BASE: dict[str, Any] = {
    "name": "test",
    "seed": 5,
    "data": {"reader": "phantoms", "images": 64, "patients": 24, "size": 48, "seed": 3},
    "image": {"size": 32},
    "folds": {"name": "test", "k": 2},
    "model": {"backbone": "tiny", "dropout": 0.3},
    "loss": {"positive_weight": "ratio"},
    "augment": [{"flip_horizontal": {}}, {"shift_scale_rotate": {}}, {"gauss_noise": {"std": 0.1}}],
    "optimizer": {"rate": 0.003},
    "schedule": {"name": "constant"},
    "training": {"epochs": 2, "batch_size": 8, "precision": "float32", "workers": 0},
    "selection": {"keep": "last"},
}


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backbone of a thousand weights and no BatchNorm, for what no backbone decides; and one with
    it, which forks know too."""
    monkeypatch.setitem(BACKBONES, "tiny", make_tiny_backbone(norm=False))
    monkeypatch.setitem(BACKBONES, "tiny_norm", make_tiny_backbone(norm=True))


@dataclass(frozen=True)
class Place:
    """Where the phantoms lie, as an array and as folds."""

    folder: Path
    array: ImageArray
    folds: FoldTable
    classes: tuple[str, ...] = BINARY_CLASSES

    def data(self, fold: int) -> FoldData:
        return select_fold(self.array, self.folds, fold, classes=self.classes)


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder, recipe = tmp_path_factory.mktemp("phantoms"), make_recipe(BASE)
    make_phantoms(folder, images=64, patients=24, size=48, seed=3)
    table = read_lesions(folder, recipe.data)
    folds = make_folds(table, recipe.folds)
    save_folds(folds, folder / "folds.csv")
    return Place(folder, build_array(table, folder / "arrays", recipe.image), folds)


THREE: dict[str, Any] = {
    **BASE,
    "name": "three",
    "classes": ["nevus", "melanoma", "some other lesion"],
    "data": {
        "reader": "csv_folder",
        "table": "train.csv",
        "target_col": "diagnosis",
        "group_col": "patient_id",
        "labels": {"nevus": "nevus", "melanoma": "melanoma", "unknown": "some other lesion"},
    },
    "folds": {"name": "three", "k": 2},
    "loss": {"name": "cross_entropy", "class_weight": "balanced"},
}


@pytest.fixture(scope="session")
def three(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """96 phantoms as a plain table of three diagnoses: 19 nevi, 14 melanomas, 63 others."""
    folder, recipe = tmp_path_factory.mktemp("three"), make_recipe(THREE)
    make_phantoms(folder, images=96, patients=40, size=48, seed=3)
    table = read_lesions(folder, recipe.data, classes=recipe.classes).require_sound()
    folds = make_folds(table, recipe.folds)
    save_folds(folds, folder / "folds.csv")
    array = build_array(table, folder / "arrays", recipe.image)
    return Place(folder, array, folds, recipe.classes)


RecipeMaker = Callable[..., Recipe]


@pytest.fixture(scope="session")
def recipe_of() -> RecipeMaker:
    """BASE with whole fields replaced (seed=6) or sections updated (training={"epochs": 3})."""

    def make(**changes: Any) -> Recipe:
        merged = {
            key: {**BASE.get(key, {}), **value} if isinstance(value, dict) else value
            for key, value in changes.items()
        }
        return make_recipe({**BASE, **merged})

    return make


@pytest.fixture(scope="session")
def three_of() -> RecipeMaker:
    """THREE, changed as `recipe_of` changes BASE."""

    def make(**changes: Any) -> Recipe:
        merged = {
            key: {**THREE.get(key, {}), **value} if isinstance(value, dict) else value
            for key, value in changes.items()
        }
        return make_recipe({**THREE, **merged})

    return make


@pytest.fixture
def fit(place: Place, tmp_path: Path) -> Callable[..., FoldRun]:
    """fit_fold on the phantoms (or at another place), on the CPU."""

    def run(
        recipe: Recipe, folder: Path, *, fold: int = 0, at: Place = place, **options: Any
    ) -> FoldRun:
        return fit_fold(
            recipe,
            at.data(fold),
            folder,
            device=torch.device("cpu"),
            imagenet=tmp_path / "imagenet",
            **options,
        )

    return run
