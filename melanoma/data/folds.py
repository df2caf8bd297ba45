"""FoldTable: which image is held out when. Made once, frozen in a CSV, handed down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from melanoma.data.arrays import ImageArray
from melanoma.data.csv_tables import read_table, some_rows
from melanoma.data.fold_assignment import (
    assign_groups,
    require_each_class,
    require_enough,
    take_share,
)
from melanoma.data.groups import Pair, join_groups
from melanoma.data.images import FileFacts
from melanoma.data.own_parts import has_own_split, own_test, require_own_classes
from melanoma.data.placeholders import blank_placeholders
from melanoma.data.readers.labels import names_of
from melanoma.data.readers.table import COLUMNS, LesionTable
from melanoma.errors import FoldError
from melanoma.recipe.sections import Folds
from melanoma.storage import digest_of, write_text
from melanoma.types import Integers

# In place of a fold's number: rows of a single split that are never held out, and the test part.
# The fold file has words for them, which no reader of numbers takes for a fold.
NEVER, TEST = -1, -2
WORDS = {NEVER: "train", TEST: "test"}
_NUMBERS = {word: str(number) for number, word in WORDS.items()}


@dataclass(frozen=True)
class FoldTable:
    """LesionTable's columns, `group` (text, what must stay whole) and `fold` (0 to k - 1).

    Beside them `width`, `height` and `bytes` of the image's file (float, NaN where unknown) and any
    further column as text. These decide no fold, and are not in the digest. `whole` are all rows,
    in their order; whoever trains, selects or calibrates has `frame`, which lacks the test part.
    """

    whole: pd.DataFrame

    def __len__(self) -> int:
        return len(self.whole)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The rows of the folds."""
        return self.whole[self.whole["fold"] != TEST].reset_index(drop=True)

    @cached_property
    def test(self) -> pd.DataFrame:
        """The rows of the test part, which evaluate scores once; empty where there is none."""
        return self.whole[self.whole["fold"] == TEST].reset_index(drop=True)

    @property
    def folds(self) -> list[int]:
        """The folds that occur, ascending."""
        return sorted(int(f) for f in self.frame["fold"].unique() if f != NEVER)

    @cached_property
    def digest(self) -> str:
        """sha256 over image_name, target, group and fold, whatever the order of the rows."""
        rows = _in_words(self.whole)[["image_name", "target", "group", "fold"]].astype(str)
        return digest_of(sorted(rows.itertuples(index=False, name=None)))

    def rows(self, fold: int) -> tuple[Integers, Integers]:
        """Rows of `frame` (training, validation) for `fold`.

        Raises FoldError when it cannot be trained.
        """
        if fold not in self.folds:
            raise FoldError(f"fold {fold} is not in the fold file (it has {self.folds})")
        held_out = (self.frame["fold"] == fold).to_numpy()
        parts = np.flatnonzero(~held_out), np.flatnonzero(held_out)
        for rows, part in zip(parts, ("training", "validation"), strict=True):
            lacking = self._lacking(rows)
            if lacking:
                raise FoldError(
                    f"fold {fold}: the {part} part holds {lacking} "
                    "(fewer folds, or another --seed for split)"
                )
        return parts

    def _lacking(self, rows: Integers) -> str:
        """What these rows lack of the table's classes (of 0 and 1 both), blank for nothing."""
        target = self.frame["target"].to_numpy()
        required, present = {0, 1} | set(target), set(target[rows])
        if len(required) > 2:
            names = dict(zip(target, self.frame["label"], strict=True))
            absent = [str(names.get(number, number)) for number in sorted(required - present)]
            return f"no {', no '.join(absent)}; every class must be in both parts" if absent else ""
        if present == required:
            return ""
        only = "nothing" if not present else f"only target {present.pop()}"
        return f"{only}; AUROC needs both classes"

    def counts(self) -> pd.DataFrame:
        """Of each fold (and of `train` and `test`): images, positives, groups and prevalence; or,
        of more than two classes, images, groups, and the images of each class under its name."""
        # By their numbers the parts would stand before the folds.
        order = np.argsort(self.whole["fold"].where(self.whole["fold"] >= 0, lambda f: 1000 - f))
        rows = _in_words(self.whole.iloc[order])
        grouped = rows.groupby("fold", sort=False)
        if rows["target"].max() > 1:
            numbers = pd.crosstab(rows["fold"], rows["target"])
            names = dict(zip(rows["target"], rows["label"], strict=True))
            counts = {"images": grouped.size(), "groups": grouped["group"].nunique()}
            return pd.DataFrame(counts).join(numbers.rename(columns=names))
        return pd.DataFrame(
            {
                "images": grouped.size(),
                "positives": grouped["target"].sum(),
                "groups": grouped["group"].nunique(),
                "prevalence": grouped["target"].mean().round(4),
            }
        )


def make_folds(table: LesionTable, rules: Folds, *, pairs: Sequence[Pair] = ()) -> FoldTable:
    """Folds stratified by class and, unless group_by is none, with every group whole.

    A test part, where the rules ask for one, is taken out first: a share by the same two rules, or
    what the table's `part` says. Where `part` has a validation part, it is the single split, see
    has_own_split. `pairs` are rows that show one image. Raises FoldError when there
    are fewer groups (or fewer rows of a class) than folds, or no part to take.
    """
    frame = table.frame.reset_index(drop=True).copy()
    part = frame.pop("part") if "part" in frame else None
    target = frame["target"].to_numpy()
    plain = rules.group_by == "none"
    keys = [] if plain else _keys(frame)
    groups = np.asarray(
        np.arange(len(frame)) if plain else join_groups(keys, pairs), dtype=np.int64
    )
    fold = np.full(len(frame), NEVER)
    if part is not None and has_own_split(table, rules):
        require_own_classes(part, table)
        own = {"train": NEVER, "valid": 0, "test": TEST}
        return _as_fold_table(frame, groups, np.array([own[name] for name in part]))
    if rules.holdout == "supplied":
        if part is not None:
            fold[(part == "test").to_numpy(dtype=np.bool_)] = TEST
    elif rules.holdout == "folders":
        fold[own_test(part, table)] = TEST
    elif rules.holdout != "none":
        fold[take_share(groups, target, rules.holdout, seed=rules.seed)] = TEST
    rest = np.flatnonzero(fold != TEST)
    require_enough(frame, groups, rest, rules)
    if rules.k == 1:
        held_out = take_share(groups[rest], target[rest], rules.validation, seed=rules.seed)
        fold[rest[held_out]] = 0
    elif plain:
        from sklearn.model_selection import StratifiedKFold

        splitter = StratifiedKFold(rules.k, shuffle=True, random_state=rules.seed)
        for number, (_, rows) in enumerate(splitter.split(rest, target[rest])):
            fold[rest[rows]] = number
    else:
        fold[rest] = assign_groups(
            groups[rest],
            target[rest],
            np.ones(rules.k),
            seed=rules.seed,
            by_size=rules.stratify == "label_and_size",
        )
        require_each_class(fold[rest], groups[rest], target[rest], rules)
    return _as_fold_table(frame, groups, fold)


def _as_fold_table(frame: pd.DataFrame, groups: Integers, fold: Integers) -> FoldTable:
    frame["group"] = [f"g{number}" for number in groups]
    frame["fold"] = fold
    return with_file_facts(FoldTable(frame), None)


def with_file_facts(folds: FoldTable, array: ImageArray | None) -> FoldTable:
    """The same folds with `width`, `height` and `bytes` as the array recorded them; NaN elsewhere.

    For the report's shortcut baselines alone: no model is given them.
    """
    facts = array.file_facts if array is not None else ()
    of_name = dict(zip(array.names, facts, strict=True)) if array is not None and facts else {}
    unknown = (np.nan,) * len(FileFacts._fields)
    rows = [of_name.get(name, unknown) for name in folds.whole["image_name"]]
    columns = pd.DataFrame(rows, folds.whole.index, FileFacts._fields, dtype=np.float64)
    return FoldTable(_ordered(folds.whole.assign(**columns)))


def save_folds(folds: FoldTable, path: Path) -> None:
    """Write the fold file: a CSV that any notebook can read and any split can replace."""
    whole = {c: "Int64" for c in FileFacts._fields if c in folds.whole}
    write_text(path, _in_words(folds.whole).astype(whole).to_csv(index=False, lineterminator="\n"))


def load_folds(path: Path, *, classes: Sequence[str] | None = None) -> FoldTable:
    """The fold file at `path`: ours, or any CSV with image_name, patient_id, target and fold.

    A fold is a number, or `test` of the test part, or `train` of rows that are never held out.
    Columns that we do not know are kept as text: the report can be broken down by them. Its targets
    must be the numbers of `classes`, where they are given. Raises FoldError for a fold or target
    that is no number, DataError for the rest.
    """
    needed = ["image_name", "patient_id", "target", "fold"]
    frame = read_table(path, needed=needed)
    allowed = {"fold": rf"\d{{1,3}}|{'|'.join(WORDS.values())}", "target": r"\d{1,3}"}
    for column, pattern in allowed.items():
        bad = ~frame[column].str.fullmatch(pattern)
        if bad.any():
            raise FoldError(
                f"{path}: {int(bad.sum())} rows whose {column} is not a whole number "
                f"that it may be: {some_rows(bad, frame[column])}"
            )
        frame[column] = frame[column].replace(_NUMBERS).astype(int)
    twice = frame["image_name"].duplicated()
    if twice.any():
        raise FoldError(f"{path}: images in it twice: {some_rows(twice, frame['image_name'])}")
    for column in COLUMNS:
        if column not in frame:
            frame[column] = ""
    for column in ("patient_id", "lesion_id", "sex", "site"):
        frame[column] = blank_placeholders(frame[column])
    for column in ("age", *FileFacts._fields):
        values = frame.get(column, pd.Series("", frame.index))
        frame[column] = pd.to_numeric(values, errors="coerce").astype(np.float64)
    frame["label"] = frame["label"].mask(frame["label"] == "", frame["target"].astype(str))
    if "group" not in frame:
        groups = pd.Series(join_groups(_keys(frame)), frame.index)
        # Named by an image, not by position: the digest must not depend on the order of rows.
        frame["group"] = frame.groupby(groups)["image_name"].transform("min")
    folds = FoldTable(_ordered(frame))
    return folds if classes is None else label_folds(folds, classes, origin=str(path))


def label_folds(
    folds: FoldTable, classes: Sequence[str], *, origin: str = "the fold file"
) -> FoldTable:
    """The table with the names of `classes` as labels, filled in where a file had none.

    Raises FoldError when a target or label is none of these classes, or of more than two classes
    one has no row: the file was made for another recipe.
    """
    target, label = folds.whole["target"], folds.whole["label"]
    remedy = (
        "rebuild it with python -m melanoma.split, or name another with --folds "
        f"(the recipe's classes: {', '.join(classes)})"
    )
    beyond = target >= len(classes)
    if beyond.any():
        raise FoldError(
            f"{origin}: {int(beyond.sum())} rows of a class that the recipe has not: "
            f"{some_rows(beyond, label)}; {remedy}"
        )
    named = pd.Series(names_of(target, classes), target.index)
    other = (label != named) & (label != target.astype(str))
    if other.any():
        raise FoldError(
            f"{origin}: {int(other.sum())} rows whose label is not what target means: "
            f"{some_rows(other, label)}; {remedy}"
        )
    labeled = FoldTable(folds.whole.assign(label=named))
    absent = [name for name in classes if name not in set(labeled.frame["label"])]
    if absent and len(classes) > 2:
        raise FoldError(f"{origin}: no row of {', '.join(map(repr, absent))}; {remedy}")
    return labeled


def _ordered(frame: pd.DataFrame) -> pd.DataFrame:
    """Our columns first, then those of the file, then further ones, then what was decided."""
    ours = [*COLUMNS, *FileFacts._fields]
    further = [c for c in frame if c not in (*ours, "group", "fold")]
    return frame[[*ours, *further, "group", "fold"]]


def _keys(frame: pd.DataFrame) -> list[list[str]]:
    """What must stay whole: the patient and, within or without one, the lesion."""
    return [frame["patient_id"].tolist(), frame["lesion_id"].tolist()]


def _in_words(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with the file's words in place of our numbers that are no fold's."""
    if not (frame["fold"] < 0).any():
        return frame
    words = [WORDS.get(fold, fold) for fold in frame["fold"].tolist()]
    return frame.assign(fold=pd.Series(words, frame.index, dtype=object))
