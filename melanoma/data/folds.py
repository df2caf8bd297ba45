"""FoldTable: which image is held out when. Made once, frozen in a CSV, handed down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.model_selection import StratifiedKFold

from melanoma.data.duplicates import Pair, join_groups
from melanoma.data.lesions import COLUMNS, LesionTable
from melanoma.data.tables import read_table, some_rows
from melanoma.errors import FoldError
from melanoma.recipe import Folds
from melanoma.storage import digest_of, write_text

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class FoldTable:
    """LesionTable's columns, `group` (text, what must stay whole) and `fold` (0 to k - 1)."""

    frame: pd.DataFrame

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def folds(self) -> list[int]:
        """The folds that occur, ascending."""
        return sorted(int(f) for f in self.frame["fold"].unique())

    @property
    def digest(self) -> str:
        """sha256 over image_name, target, group and fold, whatever the order of the rows."""
        rows = self.frame[["image_name", "target", "group", "fold"]].astype(str)
        return digest_of(sorted(rows.itertuples(index=False, name=None)))

    def rows(self, fold: int) -> tuple[Rows, Rows]:
        """Rows (training, validation) for `fold`. Raises FoldError when it cannot be trained."""
        if fold not in self.folds:
            raise FoldError(f"fold {fold} is not in the fold file (it has {self.folds})")
        held_out = (self.frame["fold"] == fold).to_numpy()
        parts = np.flatnonzero(~held_out), np.flatnonzero(held_out)
        for rows, part in zip(parts, ("training", "validation"), strict=True):
            classes = set(self.frame["target"].to_numpy()[rows])
            if classes != {0, 1}:
                only = "nothing" if not classes else f"only target {classes.pop()}"
                raise FoldError(
                    f"fold {fold}: the {part} part holds {only}; AUROC needs both classes "
                    "(fewer folds, or another --seed for split)"
                )
        return parts

    def counts(self) -> pd.DataFrame:
        """Images, positives, groups and prevalence of each fold."""
        grouped = self.frame.groupby("fold")
        return pd.DataFrame(
            {
                "images": grouped.size(),
                "positives": grouped["target"].sum(),
                "groups": grouped["group"].nunique(),
                "prevalence": grouped["target"].mean().round(4),
            }
        )


def make_folds(table: LesionTable, rules: Folds, *, pairs: Sequence[Pair] = ()) -> FoldTable:
    """Folds stratified by target and, unless group_by is none, with every group whole.

    `pairs` are rows that show one image. Raises FoldError when there are fewer groups (or fewer
    rows of a class) than folds.
    """
    frame = table.frame.reset_index(drop=True).copy()
    target = frame["target"].to_numpy()
    smallest = int(np.bincount(target, minlength=2).min())
    if smallest < rules.k:
        raise FoldError(f"{rules.k} folds need {rules.k} images of each class; one has {smallest}")
    if rules.group_by == "none":
        groups = np.arange(len(frame))
        splitter = StratifiedKFold(rules.k, shuffle=True, random_state=rules.seed)
        fold = np.empty(len(frame), dtype=np.int64)
        for number, (_, held_out) in enumerate(splitter.split(target, target)):
            fold[held_out] = number
    else:
        groups = np.asarray(join_groups(_keys(frame), pairs), dtype=np.int64)
        fold = _assign_groups(groups, target, k=rules.k, seed=rules.seed)
    frame["group"] = [f"g{number}" for number in groups]
    frame["fold"] = fold
    return FoldTable(frame)


def save_folds(folds: FoldTable, path: Path) -> None:
    """Write the fold file: a CSV that any notebook can read and any split can replace."""
    write_text(path, folds.frame.to_csv(index=False, lineterminator="\n"))


def load_folds(path: Path) -> FoldTable:
    """The fold file at `path`: ours, or any CSV with image_name, patient_id, target and fold.

    Raises FoldError for a fold that is no number, DataError for the rest.
    """
    needed = ["image_name", "patient_id", "target", "fold"]
    frame = read_table(path, needed=needed)
    for column, allowed in (("fold", r"\d{1,3}"), ("target", "[01]")):
        bad = ~frame[column].str.fullmatch(allowed)
        if bad.any():
            raise FoldError(
                f"{path}: {int(bad.sum())} rows whose {column} is not a whole number "
                f"that it may be: {some_rows(bad, frame[column])}"
            )
        frame[column] = frame[column].astype(int)
    twice = frame["image_name"].duplicated()
    if twice.any():
        raise FoldError(f"{path}: images in it twice: {some_rows(twice, frame['image_name'])}")
    for column in COLUMNS:
        if column not in frame:
            frame[column] = ""
    frame["age"] = pd.to_numeric(frame["age"], errors="coerce")
    if "group" not in frame:
        groups = pd.Series(join_groups(_keys(frame)), frame.index)
        # Named by an image, not by position: the digest must not depend on the order of rows.
        frame["group"] = frame.groupby(groups)["image_name"].transform("min")
    return FoldTable(frame[[*COLUMNS, "group", "fold"]])


def _keys(frame: pd.DataFrame) -> list[list[str]]:
    """What must stay whole: the patient and, within or without one, the lesion."""
    return [frame["patient_id"].tolist(), frame["lesion_id"].tolist()]


def _assign_groups(groups: Rows, target: Rows, *, k: int, seed: int) -> Rows:
    """Largest groups first, each to the fold that has the fewest positives, then images.

    Longest-processing-time scheduling: the spread of a fold is bounded by its last group. Ties are
    broken by a seeded shuffle.
    """
    count = int(groups.max()) + 1
    if count < k:
        raise FoldError(f"{k} folds need {k} groups; the table has {count}")
    size = np.bincount(groups, minlength=count)
    positives = np.bincount(groups, weights=target, minlength=count).astype(np.int64)
    shuffled = np.random.default_rng(seed).permutation(count)
    order = shuffled[np.lexsort((-size[shuffled], -positives[shuffled]))]
    fold_of_group = np.empty(count, dtype=np.int64)
    images, caught = np.zeros(k), np.zeros(k)
    for group in order:
        # Groups without a positive only even out the number of images.
        keys = (images, caught) if positives[group] else (images,)
        fold = int(np.lexsort(keys)[0])
        fold_of_group[group] = fold
        images[fold] += size[group]
        caught[fold] += positives[group]
    return fold_of_group[groups]
