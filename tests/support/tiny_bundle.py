"""The small bundle that the tests of scoring, service and page share, and what led to it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hand_built import hand_built, tint_melanomas

from benchmarks.service_bundle import make_bundle
from melanoma.data.arrays import ImageArray, load_array
from melanoma.data.folds import load_folds
from melanoma.data.phantoms.dataset import make_phantoms
from melanoma.data.readers.reader_catalog import read_lesions
from melanoma.data.readers.table import LesionTable
from melanoma.recipe.overrides import make_recipe
from melanoma.recipe.recipe import Recipe
from melanoma.training.fold_data import FoldData, select_fold


@dataclass(frozen=True)
class TinyRun:
    """Everything that led to a bundle, and the bundle's folder. Read only."""

    recipe: Recipe
    table: LesionTable
    array: ImageArray
    parts: list[FoldData]
    folder: Path

    def photograph(self, row: int) -> bytes:
        """The file that the array's row was made of."""
        return (self.table.folder / self.table.frame["source"].iloc[row]).read_bytes()


def tiny_recipe(backbone: str = "tiny_resnet") -> Recipe:
    """Two networks at 32 px on 80 phantoms, one epoch each."""
    return make_recipe(
        {
            "name": "tiny",
            # Not reader phantoms: a bundle that knows of them scores only where it is named.
            "data": {"reader": "siim"},
            "image": {"size": 32},
            "folds": {"name": "tiny", "k": 2},
            "model": {"backbone": backbone, "dropout": 0.2},
            "loss": {"positive_weight": "ratio"},
            "schedule": {"name": "constant"},
            "training": {"epochs": 1, "workers": 0, "precision": "float32"},
            "selection": {"keep": "last"},
            "evaluation": {"resamples": 100, "calibration": "scale"},
        }
    )


def make_tiny_run(base: Path, backbone: str = "tiny_resnet") -> TinyRun:
    """A sealed bundle in `base`/weights beside data, arrays and folds.csv, its networks set.

    Of "resnet18", where a process of another kind reads it, or timm must have the network.
    """
    recipe = tiny_recipe(backbone)
    make_phantoms(base / "data", images=80, patients=30, size=48, seed=3)
    table = read_lesions(base / "data", recipe.data)
    tint_melanomas(base / "data")
    with hand_built():
        weights = make_bundle(base, recipe)
    array, folds = load_array(base / "arrays", recipe.image), load_folds(base / "folds.csv")
    assert array is not None
    parts = [select_fold(array, folds, number) for number in folds.folds]
    return TinyRun(recipe, table, array, parts, weights)
