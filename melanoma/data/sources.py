"""Tables of other sources (data.sources): their rows, frozen beside their array, and which of them
show what a fold holds out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from melanoma.data.arrays import ImageArray
from melanoma.data.csv_tables import read_table, some_rows
from melanoma.data.duplicates.search import SharedImage
from melanoma.data.fold_assignment import assign_groups
from melanoma.data.folds import NEVER, TEST, FoldTable
from melanoma.data.groups import join_groups, plain_number
from melanoma.data.readers.table import LesionTable
from melanoma.errors import DataError, FoldError
from melanoma.recipe.source_section import Source
from melanoma.storage import digest_of, write_text
from melanoma.types import Floats, Integers

ROWS = "rows.csv"
_COLUMNS = ["image_name", "patient_id", "lesion_id", "label", "soft_target"]
_KEYS = ["image_name", "patient_id", "lesion_id"]


@dataclass(frozen=True)
class SourceTable:
    """A source's rows, in the order of its array: text, blank for what is not known.

    `label` is its own class, `soft_target` the teacher's cell as the table has it: what both mean
    is the recipe's, so that another shift or class needs no other record.
    """

    source: Source
    array: ImageArray
    frame: pd.DataFrame

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def digest(self) -> str:
        """sha256 over its pixels, names, labels and soft targets."""
        rows = self.frame[_COLUMNS].itertuples(index=False, name=None)
        return digest_of([self.source.name, self.array.digest, sorted(rows)])

    @property
    def soft(self) -> Floats:
        """(N,) the teacher's melanoma probabilities, shift included, NaN where there is none."""
        rules = self.source.soft_target
        numbers = pd.to_numeric(self.frame["soft_target"], errors="coerce").to_numpy(np.float64)
        if rules is None:
            return np.full(len(numbers), np.nan)
        if rules.scale == "probability":
            clipped = np.clip(numbers, 1e-6, 1 - 1e-6)
            numbers = np.log(clipped / (1 - clipped))
        probabilities: Floats = 1 / (1 + np.exp(-(numbers + rules.shift)))
        return probabilities

    def possible(self, classes: Sequence[str]) -> npt.NDArray[np.float32]:
        """(N, C) of 0 and 1: the recipe's classes that a row may be of; all 0 without a label."""
        rows = {"": np.zeros(len(classes), np.float32)}
        for own, meant in self.source.meaning(classes).items():
            rows[own] = np.isin(classes, meant).astype(np.float32)
        labels = self.frame["label"].tolist()
        return np.stack([rows[label] for label in labels]).reshape(len(labels), len(classes))


def source_rows(source: Source, table: LesionTable, array: ImageArray) -> SourceTable:
    """The table's rows that the array has. Raises DataError for a soft target that is none."""
    frame = table.frame.set_index("image_name", drop=False).loc[list(array.names)]
    frame = frame.reset_index(drop=True)
    soft = pd.Series("", frame.index)
    if source.soft_target is not None:
        soft = _checked(frame[source.soft_target.column], source)
    if not source.labeled and (soft == "").all():
        raise DataError(f"{table.folder}: no row of source {source.name} has a soft target")
    return SourceTable(source, array, frame.assign(soft_target=soft)[_COLUMNS])


def _checked(cells: pd.Series, source: Source) -> pd.Series:
    """The column as it is. Raises DataError naming the first cells that are no soft target."""
    assert source.soft_target is not None
    rules = source.soft_target
    numbers = pd.to_numeric(cells, errors="coerce").astype(np.float64)
    bad = (cells != "") & ~np.isfinite(numbers)
    if rules.scale == "probability":
        bad |= (numbers < 0) | (numbers > 1)
    if bad.any():
        raise DataError(
            f"source {source.name}: {int(bad.sum())} rows whose {rules.column} is no "
            f"{rules.scale}: {some_rows(bad, cells)}"
        )
    return cells


def save_rows(table: SourceTable, folder: Path) -> None:
    """FOLDER/rows.csv: what training reads, so that it needs the table no more."""
    text = table.frame[_COLUMNS].to_csv(index=False, lineterminator="\n")
    write_text(folder / ROWS, text)


def load_rows(source: Source, array: ImageArray, folder: Path) -> SourceTable | None:
    """The rows as they were frozen; None where there are none. Raises DataError."""
    if not (folder / ROWS).is_file():
        return None
    frame = read_table(folder / ROWS, needed=_COLUMNS)
    if frame["image_name"].tolist() != list(array.names):
        raise DataError(f"{folder / ROWS} and {array.path} hold different images; remove both")
    foreign = sorted(set(frame["label"]) - {"", *source.classes})
    if foreign:
        raise DataError(
            f"{folder / ROWS}: {foreign[0]!r} is none of the classes of source {source.name}; "
            "remove it to read the table again"
        )
    return SourceTable(source, array, frame[_COLUMNS])


def row_changes(frozen: SourceTable, table: SourceTable) -> list[str]:
    """What the table has otherwise than its frozen rows, a sentence a column; 12 and 12.0 are one
    patient, which earlier versions took for two."""
    then, now = frozen.frame, table.frame
    if then["image_name"].tolist() != now["image_name"].tolist():
        return ["other images"]
    changes = []
    for column in _COLUMNS[1:]:
        ours, theirs = (
            one[column].astype(str).map(plain_number if column in _KEYS else str)
            for one in (then, now)
        )
        rows = np.flatnonzero((ours != theirs).to_numpy())
        if len(rows):
            old, new = (one.iloc[rows[0]] or "blank" for one in (ours, theirs))
            name = then["image_name"].iloc[rows[0]]
            changes.append(f"{column} of {len(rows):,} rows: {name}: {old} -> {new}")
    return changes


@dataclass(frozen=True)
class JoinedSources:
    """Of each source, (N,) the folds that may not train a row: those that it shares something with,
    and of a source that is held out the one that holds it out.

    `groups` (N,) number what belongs together, over all sources; `always` are those of which the
    fold file has images that no fold holds out. `bridged` counts groups of sources that join images
    of several folds.
    """

    touched: tuple[tuple[frozenset[int], ...], ...]
    groups: tuple[Integers, ...]
    always: frozenset[int]
    bridged: int

    def may_train(self, number: int, fold: int) -> npt.NDArray[np.bool_]:
        """(N,): rows of that source which show nothing that the fold, or the test part, holds
        out."""
        held_out = {fold, TEST}
        return np.array([not (folds & held_out) for folds in self.touched[number]], np.bool_)

    def held_out_by(self, number: int) -> Integers:
        """(N,): the one fold whose network alone never saw a row or what belongs to it; -1 where
        there is none, or several."""
        held = [
            next(iter(folds)) if len(folds) == 1 and TEST not in folds else -1
            for folds in self.touched[number]
        ]
        return np.where(np.isin(self.groups[number], list(self.always)), -1, held)


def join_sources(
    folds: FoldTable,
    tables: Sequence[SourceTable],
    shared: Iterable[tuple[int, int, SharedImage]],
    *,
    seed: int = 0,
) -> JoinedSources:
    """Patients, lesions, names and photographs joined over the fold file and all sources.

    `shared` are photographs of two of them: the numbers of both (0 the fold file, 1 and up the
    sources in order), and the pair. Joining is transitive: a row of the same patient as a copy of a
    held-out image shows that patient too. What sources with held_out have to themselves is dealt
    out to the folds as their own images are, by `seed`. Raises FoldError where that cannot be.
    """
    whole = folds.whole
    blocks = [whole[_KEYS], *(table.frame[_KEYS] for table in tables)]
    starts = np.cumsum([0, *(len(block) for block in blocks)])
    row_of = [
        {name: int(start) + row for row, name in enumerate(block["image_name"])}
        for start, block in zip(starts[:-1], blocks, strict=True)
    ]
    names, *others = ([str(cell) for block in blocks for cell in block[key]] for key in _KEYS)
    identities = [[plain_number(cell) for cell in column] for column in others]
    groups = [*whole["group"].astype(str), *([""] * int(starts[-1] - starts[1]))]
    pairs = [
        (row_of[one][pair.first], row_of[other][pair.second])
        for one, other, pair in shared
        if pair.first in row_of[one] and pair.second in row_of[other]
    ]
    joined = np.asarray(join_groups([names, *identities, groups], pairs))
    held: dict[int, set[int]] = {}
    for group, fold in zip(joined[: len(whole)], whole["fold"], strict=True):
        if fold != NEVER:
            held.setdefault(int(group), set()).add(int(fold))
    in_file = pd.Series(joined[: len(whole)])
    always = frozenset(in_file[(whole["fold"] == NEVER).to_numpy()].tolist())
    alone = pd.Series(whole["fold"]).groupby(whole["group"].to_numpy()).nunique()
    wide = sum(len(fold_set) > 1 for fold_set in held.values())
    of_source = tuple(joined[start:end] for start, end in pairwise(starts[1:]))
    dealt = deal_out(folds, tables, of_source, held.keys() | always, seed=seed)
    held |= {group: {fold} for group, fold in dealt}
    touched = tuple(
        tuple(frozenset(held.get(int(group), ())) for group in groups) for groups in of_source
    )
    return JoinedSources(touched, of_source, always, max(0, wide - int((alone > 1).sum())))


def deal_out(
    folds: FoldTable,
    tables: Sequence[SourceTable],
    groups: Sequence[Integers],
    taken: Collection[int],
    *,
    seed: int,
) -> Iterator[tuple[int, int]]:
    """A fold for each group (a number in `groups`) of sources that are held out which is not
    `taken` by images of the fold file: each source's labels by their share, whole groups. Raises
    FoldError."""
    free: list[int] = []
    target: list[int] = []
    classes = 0
    for table, numbers in zip(tables, groups, strict=True):
        if not table.source.held_out:
            continue
        if len(folds.folds) < 2:
            raise FoldError(
                f"source {table.source.name}: held_out needs two folds, and the fold file has one"
            )
        number_of = {label: classes + n for n, label in enumerate((*table.source.classes, ""))}
        classes += len(number_of)
        for group, label in zip(numbers.tolist(), table.frame["label"], strict=True):
            if group not in taken:
                free.append(group)
                target.append(number_of[label])
    if not free:
        return
    if len(set(free)) < len(folds.folds):
        raise FoldError(
            f"held_out: {len(folds.folds)} folds need as many patients or photographs of the "
            f"sources to hold out; there are {len(set(free))}"
        )
    fold = assign_groups(np.array(free), np.array(target), np.ones(len(folds.folds)), seed=seed)
    yield from ((group, folds.folds[part]) for group, part in zip(free, fold, strict=True))
