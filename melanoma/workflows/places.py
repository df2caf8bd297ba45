"""Where a recipe keeps its fold file, runs and weights, and which folds a command means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from melanoma.errors import RecipeError
from melanoma.recipe.overrides import make_recipe, read_values
from melanoma.recipe.recipe import Recipe

ARRAYS = Path("arrays")  # where arrays are kept unless the caller says otherwise
IMAGENET = Path("weights/imagenet")  # published weights that were fetched, or put there by hand


def fold_numbers(text: str, known: list[int]) -> list[int]:
    """The folds that --fold means. Raises RecipeError listing those that exist."""
    if text == "all":
        return known
    listed = ", ".join(map(str, known))
    if not text.isdecimal() or int(text) not in known:
        raise RecipeError(f"--fold {text}: the folds are {listed}, or all")
    return [int(text)]


def fold_file(folds: Path | None, recipe: Recipe) -> Path:
    """--folds, or folds/NAME.csv."""
    return folds or Path("folds") / f"{recipe.folds.name}.csv"


def weights_folder(weights: Path | None, recipe: Recipe) -> Path:
    """--weights, or weights/RECIPE."""
    return weights or Path("weights") / recipe.name


def run_recipe(folder: Path) -> Path | None:
    """The recipe of the run in `folder`, a file: the one that was evaluated last, or that of its
    first fold where there is none, or the folds were trained by another since; None where there is
    no run. Raises RecipeError where one is damaged."""
    evaluated, trained = folder / "recipe.yaml", sorted(folder.glob("fold_*/recipe.yaml"))
    if evaluated.is_file() and (not trained or _training(evaluated) == _training(trained[0])):
        return evaluated
    return trained[0] if trained else None


def _training(path: Path) -> dict[str, Any]:
    return make_recipe(read_values(path), origin=str(path)).identity()
