"""LesionTable: one row an image, as every reader gives it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple, Protocol

import pandas as pd

from melanoma.data.csv_tables import some_rows
from melanoma.data.groups import join_groups
from melanoma.data.placeholders import blank_placeholders
from melanoma.data.readers.ages import read_ages, read_sexes
from melanoma.data.readers.identities import IDENTITIES, describe_large_groups, one_number
from melanoma.data.readers.index import ImageIndex, unmatched_reasons
from melanoma.data.readers.labels import (
    UNLABELED,
    names_of,
    read_folders,
    read_targets,
)
from melanoma.errors import DataError

COLUMNS = (
    "image_name",
    "patient_id",
    "lesion_id",
    "age",
    "sex",
    "site",
    "source",
    "label",
    "target",
)


@dataclass(frozen=True)
class LesionTable:
    """One row an image, in csv order, with COLUMNS and, as text, what the recipe keeps beside them.

    All are text but `age` (years, float, NaN when unknown) and `target`, the class's number in the
    recipe's order (of two: 1 melanoma, 0 not), -1 in an unlabeled test set; `label` is the class's
    name, blank there. `source` is the image file relative to `folder`, empty where none was found.
    Where the data has parts of its own, a column `part` says train, valid or test; where it says
    how a diagnosis was established, `reference_standard` does ("histology", or its own word).

    `problems` are rows that must be mended before anything is built on the table; `warnings` are
    what was settled without a person; `unlabeled` are images that no row names; `unmatched` are the
    names of rows without an image, with the reason where one is near.
    """

    frame: pd.DataFrame
    folder: Path
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    unlabeled: tuple[str, ...] = ()
    unmatched: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def names(self) -> list[str]:
        """Image names in csv order."""
        return self.frame["image_name"].tolist()

    def but(self, *, problems: Sequence[str] = (), warnings: Sequence[str] = ()) -> LesionTable:
        """The table with further problems and warnings."""
        return replace(
            self,
            problems=(*self.problems, *problems),
            warnings=(*self.warnings, *warnings),
        )

    def beside(self, index: ImageIndex) -> LesionTable:
        """The table with what its folder's index tells: images without a row, rows without an
        image and why, files passed over."""
        bare = self.frame["image_name"][self.frame["source"] == ""]
        return replace(
            self.but(warnings=index.notes),
            unlabeled=tuple(sorted(set(index.images) - set(self.frame["source"]))),
            unmatched=unmatched_reasons(index, bare.tolist()),
        )

    def require_sound(self) -> LesionTable:
        """The table itself. Raises DataError with every problem when there is one."""
        if self.problems:
            raise DataError(f"{self.folder}: {'; '.join(self.problems)}")
        return self


class Labels(Protocol):
    """Where the labels stand and what they mean."""

    @property
    def classes(self) -> Sequence[str]:
        """The recipe's classes."""

    def read(self, table: pd.DataFrame) -> tuple[pd.Series, list[str]]:
        """A class number a row, UNLABELED where it has none, and what is wrong."""


class ColumnLabels(NamedTuple):
    """Where the labels stand and what they mean; see read_targets."""

    column: str
    classes: Sequence[str]
    positive: Sequence[str] | None = None
    labels: Mapping[str, str] | None = None

    def read(self, table: pd.DataFrame) -> tuple[pd.Series, list[str]]:
        return read_targets(
            table[self.column], self.classes, positive=self.positive, labels=self.labels
        )


class FolderLabels(NamedTuple):
    """What the names of folders mean; see read_folders."""

    classes: Sequence[str]
    labels: Mapping[str, str] | None

    def read(self, table: pd.DataFrame) -> tuple[pd.Series, list[str]]:
        return read_folders(table["folder"], self.classes, labels=self.labels)


def make_table(
    folder: Path,
    table: pd.DataFrame,
    *,
    image_col: str,
    columns: dict[str, str],
    sources: Sequence[str],
    labels: Labels | None,
    keep: Sequence[str] = (),
) -> LesionTable:
    problems: list[str] = []
    frame = pd.DataFrame({"image_name": table[image_col]})
    for ours in ("patient_id", "lesion_id", "sex", "site"):
        frame[ours] = blank_placeholders(_column(table, columns.get(ours)))
    for ours in IDENTITIES:
        frame[ours] = one_number(frame[ours])
    frame["sex"], odd_sexes = read_sexes(frame["sex"])
    age = _column(table, columns.get("age"))
    frame["age"], unread = read_ages(age)
    frame["source"] = list(sources)
    frame["label"], frame["target"] = "", UNLABELED
    if labels is not None:
        frame["target"], problems = labels.read(table)
        frame["label"] = names_of(frame["target"], labels.classes)
    for name in keep:
        frame[name] = blank_placeholders(table[name])
    unnamed = frame["image_name"] == ""
    if unnamed.any():
        problems.append(
            f"{int(unnamed.sum())} rows without {image_col}: "
            f"{some_rows(unnamed, frame['image_name'])}"
        )
    frame, repeated, warnings = _without_repeats(frame)
    keys = [frame[name].tolist() for name in IDENTITIES]
    warnings += describe_large_groups(frame, join_groups(keys))
    return LesionTable(
        frame[[*COLUMNS, *keep]],
        folder,
        problems=(*problems, *repeated),
        warnings=(*warnings, *unread, *odd_sexes),
    )


def _column(table: pd.DataFrame, name: str | None) -> pd.Series:
    """The column of that name; blank where there is none. A table's index has a blank name."""
    return table[name] if name and name in table else pd.Series("", table.index)


def _one_identity(names: pd.Series, identity: pd.Series) -> tuple[pd.Series, list[str]]:
    """What any row of an image says of whose it is, where its own row says nothing; and the images
    of which rows say different things. The row that is dropped may be the one that knows."""
    told = identity[(identity != "") & (names != "")]
    by_image = told.groupby(names[told.index])
    counts = by_image.nunique()
    known = by_image.first().to_dict()
    filled = identity.where(identity != "", names.map(lambda name: known.get(name, "")))
    return filled, sorted(counts[counts > 1].index)


def _without_repeats(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str], list[str]]:
    repeated = frame.duplicated("image_name", keep=False) & (frame["image_name"] != "")
    if not repeated.any():
        return frame, [], []
    labels = frame[repeated].groupby("image_name")["target"].nunique()
    conflicting = sorted(labels[labels > 1].index)
    problems = []
    if conflicting:
        problems.append(
            f"{len(conflicting)} images stand twice with different targets: "
            f"{', '.join(conflicting[:5])}"
        )
    for column in IDENTITIES:
        frame[column], several = _one_identity(frame["image_name"], frame[column])
        if several:
            problems.append(
                f"{len(several)} images stand twice with different {column}: "
                f"{', '.join(several[:5])}"
            )
    once = frame.drop_duplicates("image_name")
    warning = f"{len(frame) - len(once)} repeated rows dropped (same image_name)"
    return once, problems, [warning]
