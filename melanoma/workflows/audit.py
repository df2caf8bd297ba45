"""The leak audit of a fold file, or between two data sets."""

from __future__ import annotations

import contextlib
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from melanoma.data.array_build import find_adoptable
from melanoma.data.arrays import ImageArray
from melanoma.data.duplicates.search import Duplicates, SharedImage, find_shared
from melanoma.data.find_array import find_array
from melanoma.data.folds import load_folds
from melanoma.data.groups import join_groups
from melanoma.data.leaks import (
    LeakAudit,
    as_far_as_known,
    audit_external,
    audit_folds,
    with_identities,
)
from melanoma.data.readers.reader_catalog import read_lesions
from melanoma.data.readers.table import LesionTable
from melanoma.errors import DataError
from melanoma.recipe.recipe import Recipe
from melanoma.workflows.fold_sources import (
    audit_sources,
    open_sources,
    source_folder,
    source_identities,
)
from melanoma.workflows.places import ARRAYS, fold_file
from melanoma.workflows.prepare import prepare_array
from melanoma.workflows.source import require_same_source
from melanoma.workflows.split import search_duplicates
from melanoma.workflows.watch import SILENT, Watch

_KEYS = ["image_name", "patient_id", "lesion_id"]


class Audited(NamedTuple):
    """What was found, and in what; `pairs` are all photographs twice, leaks or not, leaks first."""

    audit: LeakAudit
    pairs: list[SharedImage]
    looked_at: str
    array: ImageArray | None
    other: ImageArray | None
    sources: tuple[str, ...] = ()  # what data.sources share with each fold, and so leave out
    sides: bool = True  # False without a fold file: there is nothing that a pair could be parted by
    firsts: tuple[ImageArray, ...] = ()  # each pair's first photograph, where sources have some


class AuditedSet(NamedTuple):
    """A table, its array (None where there are no images), and where that and its pairs lie."""

    table: LesionTable
    array: ImageArray | None
    folder: Path


def look_at(
    recipe: Recipe, data: Path, arrays: Path | None, scratch: Path, *, watch: Watch = SILENT
) -> AuditedSet:
    """The table in `data` with its squares: prepared already, adopted, or decoded for this audit.

    Without --arrays, arrays/ is used if it is this table's, and what must be decoded is not kept.
    """
    table = read_lesions(data, recipe.data, classes=recipe.classes).require_sound()
    folder = arrays
    if folder is None:
        there = None
        with contextlib.suppress(DataError):  # of another recipe, or gone
            there = find_array(ARRAYS, recipe.image, data=data, amend=False)
        ours = there is not None and set(table.names) - set(there.skipped) == set(there.names)
        folder = ARRAYS if ours else scratch
    seen = bool((table.frame["source"] != "").any())
    has_array = find_array(folder, recipe.image, data=data, say=watch.say) is not None
    has_array = has_array or find_adoptable(folder, data, recipe.image) is not None
    if not (seen or has_array):
        for warning in table.warnings:  # else prepare_array says them
            watch.say(f"warning: {warning}")
        watch.say(f"warning: no images in {data}: only patients and lesions are compared")
        return AuditedSet(table, None, folder)
    return AuditedSet(table, prepare_array(recipe, data, folder, watch=watch), folder)


def audit_fold_file(
    recipe: Recipe, audited: AuditedSet, folds: Path | None, *, watch: Watch = SILENT
) -> Audited:
    """The recipe's table and images against its fold file, where there is one."""
    table, array, folder = audited
    path = fold_file(folds, recipe)
    if folds is not None and not path.is_file():
        raise DataError(f"no fold file at {path}; make it with python -m melanoma.split")
    duplicates = None if array is None else search_duplicates(array, folder, watch=watch)
    pairs = [] if array is None or duplicates is None else duplicates.named(array.names)
    looked_at = f"{len(table):,} images of {table.folder}"
    if not path.is_file():
        none = None if duplicates is None else ()
        looked_at += f", no fold file ({_joined(table, array, duplicates)})"
        return Audited(
            LeakAudit(identical=none, near=none), pairs, looked_at, array, array, sides=False
        )
    split = load_folds(path, classes=recipe.classes)
    require_same_source(recipe, split, path, table.folder, table=table, watch=watch)
    split = with_identities(split, table)
    names = split.whole["image_name"].tolist()
    unseen = set(names) - set(table.names if array is None else array.names)
    if unseen:
        watch.say(
            f"warning: {len(unseen)} images of {path} are not in {table.folder}; not compared"
        )
    if array is not None and duplicates is not None:
        duplicates = duplicates.among(array.names, names)
    result = audit_folds(split, duplicates)
    leaking = [*(result.identical or ()), *(result.near or ())]
    pairs = [*leaking, *(pair for pair in pairs if pair not in set(leaking))]
    looked_at += f", {len(split.folds)} folds of {path} (digest {split.digest[:12]})"
    sources: tuple[str, ...] = ()
    if array is not None:
        sources = audit_sources(recipe, array, split, table.folder, folder, watch=watch)
    return Audited(result, pairs, looked_at, array, array, sources)


def _joined(table: LesionTable, array: ImageArray | None, duplicates: Duplicates | None) -> str:
    """What a split would have to keep whole."""
    pairs = []
    if array is not None and duplicates is not None:
        pairs = duplicates.among(array.names, table.names).pairs
    keys = [table.frame["patient_id"].tolist(), table.frame["lesion_id"].tolist()]
    sizes = Counter(join_groups(keys, pairs))
    return (
        f"a split would keep {len(sizes):,} groups whole, of up to {max(sizes.values()):,} images"
    )


def audit_two_sets(
    recipe: Recipe, ours: AuditedSet, theirs: AuditedSet, *, watch: Watch = SILENT
) -> Audited:
    """A training set, and the sources of its recipe (data.sources), against a second one."""
    own, compared = ours.table, None not in (ours.array, theirs.array)
    counted = [f"{len(own):,} images of {own.folder}"]
    frames, arrays = [own.frame], [(ours.array, ours.folder)]
    if compared:
        for source in open_sources(recipe, own.folder, ours.folder, watch=watch):
            frames.append(source.frame)
            arrays.append((source.array, source_folder(ours.folder, source.source)))
    else:
        frames += source_identities(recipe, own.folder, ours.folder, watch=watch)
    for source_section, frame in zip(recipe.data.sources, frames[1:], strict=True):
        counted.append(f"{len(frame):,} of source {source_section.name}")
    counted.append(f"{len(theirs.table):,} of {theirs.table.folder}")
    pairs, firsts = list[SharedImage](), list[ImageArray]()
    for array, folder in arrays:
        if array is not None and theirs.array is not None:
            watch.say(f"looking for {len(theirs.array):,} images among {len(array):,}")
            pairs += find_shared(array, theirs.array, folder, progress=watch.progress)
            firsts += [array] * (len(pairs) - len(firsts))
    trained = pd.concat([frame[_KEYS] for frame in frames], ignore_index=True)
    result = audit_external(trained, theirs.table.frame, pairs if compared else None)
    result, looked_at = as_far_as_known(result, frames), ", ".join(counted)
    return Audited(result, pairs, looked_at, ours.array, theirs.array, firsts=tuple(firsts))
