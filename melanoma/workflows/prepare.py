"""From a data folder to the training array, prepared, adopted, or as it is there."""

from __future__ import annotations

from pathlib import Path

from melanoma.data.array_build import adopt_array, build_array, find_adoptable
from melanoma.data.array_lock import hold_arrays
from melanoma.data.arrays import ImageArray, array_file
from melanoma.data.find_array import find_array, require_same_files, require_same_rows
from melanoma.data.groups import exact_duplicates
from melanoma.data.partial_array import is_unfinished, take_up_unfinished
from melanoma.data.readers.files import some_names
from melanoma.data.readers.npy_arrays import test_arrays
from melanoma.data.readers.reader_catalog import read_lesions, read_test_lesions
from melanoma.data.readers.table import LesionTable
from melanoma.errors import DataError
from melanoma.recipe.recipe import Recipe
from melanoma.workflows.watch import SILENT, Watch

_SKIP_SHARE = 0.01


def prepare_array(
    recipe: Recipe,
    data: Path,
    arrays: Path,
    *,
    skip_bad: bool = False,
    test: bool = True,
    watch: Watch = SILENT,
) -> ImageArray:
    """The training array for the recipe: the one that is there, an adopted one, or a new one.

    Kaggle's test images, where there are any and `test` asks for them, are prepared beside it.
    Where another process is at it, it is waited for and its array is used. Raises DataError with
    all problems at once.
    """
    table = read_lesions(data, recipe.data, classes=recipe.classes)
    for warning in table.warnings:
        watch.say(f"warning: {warning}")
    if table.unlabeled:
        watch.say(
            f"note: {len(table.unlabeled):,} images have no row in the table and are not read: "
            f"{some_names(list(table.unlabeled))}"
        )
    array = _array_of(table, recipe, arrays, part="train", skip_bad=skip_bad, watch=watch)
    if test:
        _prepare_test(recipe, data, arrays, skip_bad=skip_bad, watch=watch)
    _say_duplicates(array, watch=watch)
    return array


def _prepare_test(
    recipe: Recipe, data: Path, arrays: Path, *, skip_bad: bool, watch: Watch
) -> None:
    """The array of test images, from photographs or adopted; what is passed over is said."""
    test = read_test_lesions(data, recipe.data)
    files = test_arrays(data)
    sizes = (f"x_test_{recipe.image.size}.npy", "x_test.npy")
    ours = [path for path in files if path.name in sizes]
    for warning in test.warnings if test is not None else ():
        watch.say(f"warning: test images: {warning}")
    if test is not None and ((test.frame["source"] != "").any() or ours):
        _array_of(test, recipe, arrays, part="test", skip_bad=skip_bad, watch=watch)
    elif ours:
        watch.say(
            f"note: no test.csv names the rows of {ours[0]}, so it is not recorded; predict scores "
            "it as it is, by its rows' numbers"
        )
    elif files:
        watch.say(
            f"note: {files[0]} is passed over: it is not of the recipe's {recipe.image.size} px"
        )


def _array_of(
    table: LesionTable, recipe: Recipe, arrays: Path, *, part: str, skip_bad: bool, watch: Watch
) -> ImageArray:

    # Looked for before the folder is held: a prepared array may lie on a disk that is read-only.
    if not is_unfinished(arrays, recipe.image, part=part):
        array = _prepared(table, recipe, arrays, part=part, watch=watch)
        if array is not None:
            return array
    with hold_arrays(arrays, say=watch.say):
        take_up_unfinished(arrays, recipe.image, part=part)
        array = _prepared(table, recipe, arrays, part=part, watch=watch)
        if array is not None:
            return array
        return _make_array(table, recipe, arrays, part=part, skip_bad=skip_bad, watch=watch)


def _prepared(
    table: LesionTable, recipe: Recipe, arrays: Path, *, part: str, watch: Watch
) -> ImageArray | None:
    """The array that is there. Raises DataError for one of another table, or of other files."""
    array = find_array(arrays, recipe.image, data=table.folder, part=part, say=watch.say)
    if array is None:
        return None
    table.require_sound()
    require_same_rows(array, table, arrays)
    channels = getattr(recipe.data, "array_channels", array.channels)
    if array.decoder is None and array.channels != channels:
        record = array_file(arrays, size=array.size, part=part).with_suffix(".json")
        raise DataError(
            f"{array.path} was adopted as {array.channels}, data.array_channels says {channels}; "
            f"to adopt it anew: rm {record}"
        )
    require_same_files(array, table, arrays, say=watch.say)
    return array


def _make_array(
    table: LesionTable, recipe: Recipe, arrays: Path, *, part: str, skip_bad: bool, watch: Watch
) -> ImageArray:

    image = recipe.image
    adoptable = find_adoptable(arrays, table.folder, image, part=part)
    if adoptable is not None:
        table.require_sound()
        watch.say(f"adopting {adoptable}")
        channels = getattr(recipe.data, "array_channels", "rgb")
        return adopt_array(
            adoptable, table, arrays, image, channels=channels, part=part, progress=watch.progress
        )
    return build_array(
        table,
        arrays,
        image,
        part=part,
        progress=watch.progress,
        skip_bad=_SKIP_SHARE if skip_bad else 0.0,
        say=watch.say,
    )


def _say_duplicates(array: ImageArray, *, watch: Watch) -> None:

    pairs = exact_duplicates(array.row_digests)
    if pairs:
        shown = ", ".join(f"{array.names[a]} = {array.names[b]}" for a, b in pairs[:3])
        watch.say(
            f"note: {len(pairs)} pairs of identical images ({shown}"
            f"{', ...' if len(pairs) > 3 else ''}); split keeps each pair in one fold"
        )
    if array.skipped:
        watch.say(f"warning: {len(array.skipped)} images left out: {', '.join(array.skipped)}")
