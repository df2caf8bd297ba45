"""From a table and its array to a frozen fold file, with the audit of what would leak."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from melanoma.data.array_lock import hold_arrays
from melanoma.data.arrays import ImageArray
from melanoma.data.duplicates.search import Duplicates, find_duplicates, has_duplicates
from melanoma.data.find_array import find_array, require_same_files, require_same_rows
from melanoma.data.folds import FoldTable, make_folds, save_folds, with_file_facts
from melanoma.data.groups import Pair
from melanoma.data.leaks import audit_folds
from melanoma.data.own_parts import describe_own_parts
from melanoma.data.readers.identities import count_known, describe_large_groups
from melanoma.data.readers.reader_catalog import read_lesions
from melanoma.data.readers.table import LesionTable
from melanoma.recipe.recipe import Recipe
from melanoma.workflows.source import record_source
from melanoma.workflows.watch import SILENT, Watch


def split_folds(
    recipe: Recipe, data: Path, arrays: Path, path: Path, *, watch: Watch = SILENT
) -> tuple[FoldTable, list[str]]:
    """Make and save the fold file; returns it with the lines of its leak audit.

    Images that are one photograph are joined where the array is there to show them; an array in the
    making is waited for.
    """
    # No folder is made for a lock, and one that is read-only has nobody writing into it.
    there = arrays.is_dir() and os.access(arrays, os.W_OK)
    with hold_arrays(arrays, say=watch.say) if there else nullcontext():
        return _split_folds(recipe, data, arrays, path, watch=watch)


def _split_folds(
    recipe: Recipe, data: Path, arrays: Path, path: Path, *, watch: Watch
) -> tuple[FoldTable, list[str]]:

    table = read_lesions(data, recipe.data, classes=recipe.classes).require_sound()
    for warning in table.warnings:
        watch.say(f"warning: {warning}")
    array = find_array(arrays, recipe.image, data=data, say=watch.say)
    duplicates, skipped = None, tuple[str, ...]()
    audit = ["identical images, near-duplicates: not looked for (no array yet; prepare makes it)"]
    if array is not None and _is_of_another_set(array, table):
        audit = [
            "identical images, near-duplicates: not looked for "
            f"({array.path} is of another table; --arrays DIR names this one's)"
        ]
        array = None
    if array is not None:
        require_same_rows(array, table, arrays, in_order=array.decoder is None)
        require_same_files(array, table, arrays, say=watch.say)
        skipped = array.skipped
        frame = table.frame[~table.frame["image_name"].isin(array.skipped)].reset_index(drop=True)
        table = LesionTable(frame, table.folder)
        duplicates = search_duplicates(array, arrays, watch=watch).among(array.names, table.names)
        audit = [
            f"joined: {len(duplicates.identical)} pairs of identical images, "
            f"{len(duplicates.near)} pairs of near-duplicates"
        ]
    pairs = duplicates.pairs if duplicates else ()
    audit += describe_own_parts(table, recipe.folds)
    folds = with_file_facts(make_folds(table, recipe.folds, pairs=pairs), array)
    audit += _describe_groups(folds, recipe, pairs)
    save_folds(folds, path)
    record_source(
        recipe, table, folds, path, skipped=skipped, array=array.digest if array else None
    )
    leak_audit = audit_folds(folds, duplicates)
    audit += [f"LEAK: {finding}" for finding in leak_audit.findings]
    if not leak_audit.leaks:
        audit.append(leak_audit.clean)
    return folds, audit


def _is_of_another_set(array: ImageArray, table: LesionTable) -> bool:
    """Whether hardly an image of the table is in the array: then it is not one that has changed."""
    ours = set(table.names)
    return len(ours & {*array.names, *array.skipped}) <= len(ours) / 2


def _describe_groups(folds: FoldTable, recipe: Recipe, pairs: Sequence[Pair]) -> list[str]:
    """What stays whole, and which groups are large because of duplicates."""
    frame = folds.whole
    named = {"patient": frame["patient_id"], "lesion": frame["lesion_id"]}
    known = ", ".join(count_known(identity, what) for what, identity in named.items())
    if recipe.folds.group_by == "none":
        return [f"kept whole: nothing (folds.group_by: none); {known}"]
    numbers = frame["group"].factorize()[0].tolist()
    large = describe_large_groups(frame, numbers) if pairs else []
    return [
        f"kept whole: {len(set(numbers)):,} groups; {known}",
        *(f"warning: {line}" for line in large),
    ]


def search_duplicates(array: ImageArray, arrays: Path, *, watch: Watch = SILENT) -> Duplicates:
    """The array's duplicates; says on stderr where they must be searched."""
    if has_duplicates(array, arrays):
        return find_duplicates(array, arrays)
    with hold_arrays(arrays, say=watch.say):
        if not has_duplicates(array, arrays):
            watch.say(f"looking for duplicates among {len(array):,} images")
        return find_duplicates(array, arrays, progress=watch.progress)
