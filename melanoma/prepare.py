"""python -m melanoma.prepare: check the table and the images, write the array."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from melanoma import terminal as t
from melanoma.recipe.recipe import Recipe

if TYPE_CHECKING:
    from melanoma.data.arrays import ImageArray
    from melanoma.data.readers.table import LesionTable

app = t.make_app()
_SKIP_SHARE = 0.01


@app.command()
def prepare(
    config: t.Config = t.DEFAULT_CONFIG,
    data: t.DataDir = t.DEFAULT_DATA,
    arrays: t.Arrays = t.DEFAULT_ARRAYS,
    settings: t.Settings = None,
    seed: t.Seed = None,
    image_col: t.ImageCol = None,
    target_col: t.TargetCol = None,
    group_col: t.GroupCol = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out missing and damaged images, up to 1 %.")
    ] = False,
    json: t.AsJson = False,
) -> None:
    """Check the table and the images, and write them as one array in csv order."""
    start = time.monotonic()
    recipe = t.read_recipe_options(
        config, settings, seed, image_col=image_col, target_col=target_col, group_col=group_col
    )
    array = prepare_array(recipe, data, arrays, skip_bad=skip_bad)
    found = {
        "array": str(array.path),
        "images": len(array.names),
        "size": array.size,
        "digest": array.digest,
        "skipped": list(array.skipped),
    }
    if json:
        t.answer_json(found)
        return
    t.answer(
        f"{array.path}: {len(array.names):,} x {array.size} x {array.size} x 3 uint8 RGB, "
        f"digest {array.digest[:12]}, {t.duration(start)}"
    )


def prepare_array(
    recipe: Recipe, data: Path, arrays: Path, *, skip_bad: bool = False
) -> ImageArray:
    """The training array for the recipe: the one that is there, an adopted one, or a new one.

    Kaggle's test images, where there are any, are prepared beside it. Where another process is at
    it, it is waited for and its array is used. Raises DataError with all problems at once.
    """
    from melanoma.data.readers.catalog import read_lesions
    from melanoma.data.readers.siim import read_test_lesions

    table = read_lesions(data, recipe.data, classes=recipe.classes)
    for warning in table.warnings:
        t.say(f"warning: {warning}")
    array = _array_of(table, recipe, arrays, part="train", skip_bad=skip_bad)
    test = read_test_lesions(data, recipe.data)
    if test is not None and (test.frame["source"] != "").any():
        _array_of(test, recipe, arrays, part="test", skip_bad=skip_bad)
    _say_duplicates(array)
    return array


def _array_of(
    table: LesionTable, recipe: Recipe, arrays: Path, *, part: str, skip_bad: bool
) -> ImageArray:
    from melanoma.data.array_lock import hold_arrays
    from melanoma.data.partial_array import is_unfinished, take_up_unfinished

    # Looked for before the folder is held: a prepared array may lie on a disk that is read-only.
    if not is_unfinished(arrays, recipe.image, part=part):
        array = _prepared(table, recipe, arrays, part=part)
        if array is not None:
            return array
    with hold_arrays(arrays, say=t.say):
        take_up_unfinished(arrays, recipe.image, part=part)
        array = _prepared(table, recipe, arrays, part=part)
        if array is not None:
            return array
        return _make_array(table, recipe, arrays, part=part, skip_bad=skip_bad)


def _prepared(table: LesionTable, recipe: Recipe, arrays: Path, *, part: str) -> ImageArray | None:
    """The array that is there. Raises DataError for one of another table."""
    from melanoma.data.arrays import load_array
    from melanoma.errors import DataError

    array = load_array(arrays, recipe.image, part=part)
    if array is None:
        return None
    table.require_sound()
    if [n for n in table.names if n not in array.skipped] != list(array.names):
        raise DataError(
            f"{array.path} was made from another table (its images differ from "
            f"those of {table.folder}); prepare into another --arrays DIR"
        )
    return array


def _make_array(
    table: LesionTable, recipe: Recipe, arrays: Path, *, part: str, skip_bad: bool
) -> ImageArray:
    from melanoma.data.array_build import adopt_array, build_array, find_adoptable

    image = recipe.image
    given = find_adoptable(arrays, table.folder, image, part=part)
    if given is not None:
        table.require_sound()
        t.say(f"adopting {given}")
        channels = getattr(recipe.data, "array_channels", "rgb")
        return adopt_array(
            given, table, arrays, image, channels=channels, part=part, progress=t.progress
        )
    return build_array(
        table,
        arrays,
        image,
        part=part,
        progress=t.progress,
        skip_bad=_SKIP_SHARE if skip_bad else 0.0,
    )


def _say_duplicates(array: ImageArray) -> None:
    from melanoma.data.groups import exact_duplicates

    pairs = exact_duplicates(array.row_digests)
    if pairs:
        shown = ", ".join(f"{array.names[a]} = {array.names[b]}" for a, b in pairs[:3])
        t.say(
            f"note: {len(pairs)} pairs of identical images ({shown}"
            f"{', ...' if len(pairs) > 3 else ''}); split keeps each pair in one fold"
        )
    if array.skipped:
        t.say(f"warning: {len(array.skipped)} images left out: {', '.join(array.skipped)}")


if __name__ == "__main__":
    t.run(app)
