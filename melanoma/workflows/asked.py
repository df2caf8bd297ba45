"""The recipe that a command line asks for, with what an earlier one said of its data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from melanoma.errors import RecipeError
from melanoma.recipe.overrides import load_recipe, read_values
from melanoma.recipe.recipe import Recipe
from melanoma.recipe.sections import Image
from melanoma.workflows.data_options import (
    describe_options,
    fits_table,
    recall_options,
    split_options,
)


class Asked(NamedTuple):
    """The recipe of a command, and what it was told of its data: see remember_options."""

    recipe: Recipe
    base: dict[str, Any]
    options: tuple[str, ...]


def require_used_seed(recipe: Recipe, seed: int | None) -> None:
    """Raise RecipeError for a --seed that no network of the recipe would be trained by."""
    if seed is not None and recipe.seeds:
        raise RecipeError(
            f"--seed {seed}: this recipe's networks have seeds of their own "
            f"({', '.join(map(str, recipe.seeds))}); --set 'seeds=[...]' names others, "
            "--set 'seeds=[]' trains one network by --seed"
        )


def ask_recipe(
    path: Path,
    overrides: Sequence[str],
    *,
    seed: int | None,
    data: Path,
    arrays: Path,
    folds: Path | None,
    say: Callable[[str], None],
) -> Asked:
    """The recipe at `path` with the overrides, and with those of the data section that an earlier
    command on the same array or fold file was given, which are said. Raises RecipeError."""
    from melanoma.data.fold_record import record_file  # pandas, which --help need not wait for

    ours, others = split_options(overrides)
    values = read_values(path, others)
    base, image, named = (values.get(key) for key in ("data", "image", "folds"))
    size = image.get("size") if isinstance(image, dict) else None
    name = named.get("name") if isinstance(named, dict) else None
    records = [
        arrays / f"x_train_{size or Image().size}.json",
        record_file(folds or Path("folds") / f"{name}.csv"),
    ]
    base = base if isinstance(base, dict) else {}
    recalled = recall_options(base, ours, records)
    if recalled:
        options = (*recalled, *ours)
        recipe = load_recipe(path, (*others, *options), seed=seed)
        if fits_table(recipe.data, data):
            say(describe_options(recalled))
            return Asked(recipe, base, options)
    return Asked(load_recipe(path, (*others, *ours), seed=seed), base, tuple(ours))
