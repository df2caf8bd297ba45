"""The sources of a recipe (data.sources): prepared, read, and joined with the fold file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from melanoma.data.arrays import ImageArray, load_array
from melanoma.data.duplicates.search import SharedImage, find_shared
from melanoma.data.folds import FoldTable
from melanoma.data.readers.reader_catalog import read_lesions
from melanoma.data.sources import (
    ROWS,
    JoinedSources,
    SourceTable,
    join_sources,
    load_rows,
    row_changes,
    save_rows,
    source_rows,
)
from melanoma.errors import AbsentError, DataError
from melanoma.recipe.recipe import Recipe
from melanoma.recipe.source_section import Source
from melanoma.training.fold_data import FoldData
from melanoma.training.source_rows import SourceRows
from melanoma.workflows.prepare import prepare_array
from melanoma.workflows.split import search_duplicates
from melanoma.workflows.watch import SILENT, Watch


def source_folder(arrays: Path, source: Source) -> Path:
    """ARRAYS/sources/NAME, where a source's array and rows lie."""
    return arrays / "sources" / source.name


def find_folder(data: Path, source: Source) -> Path:
    """Where a source's table lies. A data folder that is a link has its neighbors where the link
    lies; where there is no such folder, beside what it links to."""
    as_named, beside_target = Path(os.path.normpath(data / source.place)), data / source.place
    return beside_target if beside_target.is_dir() and not as_named.is_dir() else as_named


def open_sources(
    recipe: Recipe, data: Path, arrays: Path, *, dry_run: bool = False, watch: Watch = SILENT
) -> list[SourceTable]:
    """Each source's rows and array, made where they are absent, and said.

    Where the source's table is not at hand the frozen rows do. Raises DataError for a table that is
    no longer what was frozen, or for neither.
    """
    return [
        _open(recipe, source, find_folder(data, source), arrays, dry_run=dry_run, watch=watch)
        for source in recipe.data.sources
    ]


def source_identities(
    recipe: Recipe, data: Path, arrays: Path, *, watch: Watch = SILENT
) -> list[pd.DataFrame]:
    """Each source's table, of which no photograph is asked for: names, patients and lesions; or
    what is frozen where it is not at hand. Raises DataError for neither."""
    frames = []
    for source in recipe.data.sources:
        folder = find_folder(data, source)
        try:
            table = read_lesions(folder, source.section(), classes=source.classes)
            frames.append(table.require_sound().frame)
        except AbsentError:
            frames.append(_open(recipe, source, folder, arrays, dry_run=True, watch=watch).frame)
    return frames


def _open(
    recipe: Recipe, source: Source, data: Path, arrays: Path, *, dry_run: bool, watch: Watch
) -> SourceTable:
    folder = source_folder(arrays, source)
    own = recipe.model_copy(update={"data": source.section(), "classes": source.classes})
    array = load_array(folder, recipe.image)
    recorded = None if array is None else load_rows(source, array, folder)
    try:
        table = read_lesions(data, own.data, classes=own.classes).require_sound()
    except DataError as error:
        if recorded is None or (not isinstance(error, AbsentError) and data.is_dir()):
            raise DataError(f"source {source.name}: {error}") from error
        watch.say(f"note: source {source.name} is taken as it was prepared ({error})")
        return recorded
    if array is None:
        if dry_run:
            raise DataError(
                f"--dry-run: source {source.name} has no array yet; python -m melanoma.audit makes "
                "it, as does training"
            )
        watch.say(f"source {source.name}: preparing its array from {data}")
    array = prepare_array(own, data, folder, test=False, watch=watch)
    current = source_rows(source, table, array)
    if recorded is not None and recorded.digest != current.digest:
        changes = row_changes(recorded, current)
        if not changes and recorded.array.digest == current.array.digest:
            return recorded
        listed = f" ({'; '.join(changes)})" if changes else ""
        raise DataError(
            f"source {source.name}: {data} is no longer read as {folder / ROWS} has it{listed}; "
            f"put it back if it has changed, or read it anew after: rm {folder / ROWS}"
        )
    if recorded is None and not dry_run:
        save_rows(current, folder)
    return current


def add_sources(
    recipe: Recipe,
    parts: Sequence[FoldData],
    folds: FoldTable,
    data: Path,
    arrays: Path,
    *,
    dry_run: bool = False,
    watch: Watch = SILENT,
) -> list[FoldData]:
    """The folds with what their sources may train; what is left out of each is said. `folds` have
    the patients and lesions that only the data's own table knows, as with_identities gives them."""
    tables = open_sources(recipe, data, arrays, dry_run=dry_run, watch=watch)
    joined = join_folds(recipe, parts[0].array, folds, tables, arrays, watch=watch)
    extended_parts = []
    for part in parts:
        sources = rows_of_fold(tables, joined, part.fold)
        for source in sources:
            watch.say(_source_sentence(source, part.fold))
        extended_parts.append(replace(part, sources=sources))
    return extended_parts


def audit_sources(
    recipe: Recipe,
    array: ImageArray,
    folds: FoldTable,
    data: Path,
    arrays: Path,
    *,
    watch: Watch = SILENT,
) -> tuple[str, ...]:
    """A line a fold and source: how many rows train, and how many show what is held out."""
    if not recipe.data.sources:
        return ()
    tables = open_sources(recipe, data, arrays, watch=watch)
    joined = join_folds(recipe, array, folds, tables, arrays, watch=watch)
    return tuple(
        _source_sentence(source, fold)
        for fold in folds.folds
        for source in rows_of_fold(tables, joined, fold)
    )


def _source_sentence(source: SourceRows, fold: int) -> str:
    own = "are held out or " if source.table.source.held_out else ""
    return (
        f"fold {fold}: {len(source.rows):,} images of source {source.name} train; "
        f"{source.dropped:,} {own}show a patient, lesion or photograph that is held out"
    )


def join_folds(
    recipe: Recipe,
    array: ImageArray,
    folds: FoldTable,
    tables: Sequence[SourceTable],
    arrays: Path,
    *,
    watch: Watch = SILENT,
) -> JoinedSources:
    """Photographs, patients and lesions that the sources share with the fold file and each other,
    and what each fold holds out of them; what is found is said. Raises FoldError where a source
    with held_out cannot be dealt out."""
    shared = list(_shared(array, tables, arrays, watch=watch))
    for number, table in enumerate(tables, start=1):
        copies = len({pair.second for one, other, pair in shared if other == number > one})
        watch.say(
            f"source {table.source.name}: {len(table):,} images, {copies:,} of them elsewhere"
        )
    joined = join_sources(folds, tables, shared, seed=recipe.folds.seed)
    if joined.bridged:
        watch.say(
            f"note: {joined.bridged} patients, lesions or photographs of the sources show that "
            "images of different folds belong together; the fold file does not know it"
        )
    return joined


def _shared(
    array: ImageArray, tables: Sequence[SourceTable], arrays: Path, *, watch: Watch
) -> Iterator[tuple[int, int, SharedImage]]:
    """Photographs of two of them, with the numbers of both: 0 the array, 1 and up the sources; and
    of one source, where it is held out."""
    for number, table in enumerate(tables, start=1):
        if table.source.held_out:
            folder = source_folder(arrays, table.source)
            twice = search_duplicates(table.array, folder, watch=watch)
            yield from ((number, number, pair) for pair in twice.named(table.array.names))
    every = [array, *(table.array for table in tables)]
    folders = [arrays, *(source_folder(arrays, table.source) for table in tables)]
    for one in range(len(every)):
        for other in range(one + 1, len(every)):
            watch.say(
                f"comparing {len(every[one]):,} images with {len(every[other]):,} of a source"
            )
            pairs = find_shared(every[one], every[other], folders[one], progress=watch.progress)
            yield from ((one, other, pair) for pair in pairs)


def rows_of_fold(
    tables: Sequence[SourceTable], joined: JoinedSources, fold: int
) -> tuple[SourceRows, ...]:
    """Each source's rows that train while `fold` is held out. Raises DataError where none is
    left."""
    parts = []
    for number, table in enumerate(tables):
        part = SourceRows(table, np.flatnonzero(joined.may_train(number, fold)))
        if not len(part.rows):
            raise DataError(
                f"source {part.name}: every row shows what fold {fold} or the test part holds out"
            )
        parts.append(part)
    return tuple(parts)
