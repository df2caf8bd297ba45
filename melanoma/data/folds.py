"""FoldTable: which image is held out when. Made once, frozen in a CSV, handed down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.model_selection import StratifiedKFold

from melanoma.data.arrays import ImageArray
from melanoma.data.duplicates import Pair, join_groups
from melanoma.data.images import FileFacts
from melanoma.data.labels import names_of
from melanoma.data.lesions import COLUMNS, LesionTable
from melanoma.data.tables import read_table, some_rows
from melanoma.errors import FoldError
from melanoma.recipe import Folds
from melanoma.storage import digest_of, write_text

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class FoldTable:
    """LesionTable's columns, `group` (text, what must stay whole) and `fold` (0 to k - 1).

    Beside them `width`, `height` and `bytes` of the image's file (float, NaN where unknown) and any
    further column as text. These decide no fold, and are not in the digest.
    """

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
            lacking = self._lacking(rows)
            if lacking:
                raise FoldError(
                    f"fold {fold}: the {part} part holds {lacking} "
                    "(fewer folds, or another --seed for split)"
                )
        return parts

    def _lacking(self, rows: Rows) -> str:
        """What these rows lack of the table's classes (of 0 and 1 both), blank for nothing."""
        target = self.frame["target"].to_numpy()
        wanted, found = {0, 1} | set(target), set(target[rows])
        if len(wanted) > 2:
            names = dict(zip(target, self.frame["label"], strict=True))
            absent = [str(names.get(number, number)) for number in sorted(wanted - found)]
            return f"no {', no '.join(absent)}; every class must be in both parts" if absent else ""
        if found == wanted:
            return ""
        only = "nothing" if not found else f"only target {found.pop()}"
        return f"{only}; AUROC needs both classes"

    def counts(self) -> pd.DataFrame:
        """Of each fold: images, positives, groups and prevalence; or, of more than two classes,
        images, groups, and the images of each class under its name."""
        grouped = self.frame.groupby("fold")
        if self.frame["target"].max() > 1:
            numbers = pd.crosstab(self.frame["fold"], self.frame["target"])
            names = dict(zip(self.frame["target"], self.frame["label"], strict=True))
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

    `pairs` are rows that show one image. Raises FoldError when there are fewer groups (or fewer
    rows of a class) than folds.
    """
    frame = table.frame.reset_index(drop=True).copy()
    target = frame["target"].to_numpy()
    sizes = np.bincount(target, minlength=2)
    if sizes.min() < rules.k:
        rarest = frame["label"][target == sizes.argmin()].head(1).tolist() if len(sizes) > 2 else []
        raise FoldError(
            f"{rules.k} folds need {rules.k} images of each class; {(*rarest, 'one')[0]} has "
            f"{sizes.min()}"
        )
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
    return with_file_facts(FoldTable(frame), None)


def with_file_facts(folds: FoldTable, array: ImageArray | None) -> FoldTable:
    """The same folds with `width`, `height` and `bytes` as the array recorded them; NaN elsewhere.

    For the report's shortcut baselines alone: no model is given them.
    """
    facts = array.file_facts if array is not None else ()
    of_name = dict(zip(array.names, facts, strict=True)) if array is not None and facts else {}
    unknown = (np.nan,) * len(FileFacts._fields)
    rows = [of_name.get(name, unknown) for name in folds.frame["image_name"]]
    columns = pd.DataFrame(rows, folds.frame.index, FileFacts._fields, dtype=np.float64)
    return FoldTable(_ordered(folds.frame.assign(**columns)))


def save_folds(folds: FoldTable, path: Path) -> None:
    """Write the fold file: a CSV that any notebook can read and any split can replace."""
    whole = {c: "Int64" for c in FileFacts._fields if c in folds.frame}
    write_text(path, folds.frame.astype(whole).to_csv(index=False, lineterminator="\n"))


def load_folds(path: Path, *, classes: Sequence[str] | None = None) -> FoldTable:
    """The fold file at `path`: ours, or any CSV with image_name, patient_id, target and fold.

    Columns that we do not know are kept as text: the report can be broken down by them. Its targets
    must be the numbers of `classes`, where they are given. Raises FoldError for a fold or target
    that is no number, DataError for the rest.
    """
    needed = ["image_name", "patient_id", "target", "fold"]
    frame = read_table(path, needed=needed)
    for column in ("fold", "target"):
        bad = ~frame[column].str.fullmatch(r"\d{1,3}")
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
    target, label = folds.frame["target"], folds.frame["label"]
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
    absent = [name for name in classes if name not in set(named)]
    if absent and len(classes) > 2:
        raise FoldError(f"{origin}: no row of {', '.join(map(repr, absent))}; {remedy}")
    return FoldTable(folds.frame.assign(label=named))


def _ordered(frame: pd.DataFrame) -> pd.DataFrame:
    """Our columns first, then those of the file, then further ones, then what was decided."""
    ours = [*COLUMNS, *FileFacts._fields]
    further = [c for c in frame if c not in (*ours, "group", "fold")]
    return frame[[*ours, *further, "group", "fold"]]


def _keys(frame: pd.DataFrame) -> list[list[str]]:
    """What must stay whole: the patient and, within or without one, the lesion."""
    return [frame["patient_id"].tolist(), frame["lesion_id"].tolist()]


def _assign_groups(groups: Rows, target: Rows, *, k: int, seed: int) -> Rows:
    """Rarest class first, its largest groups first, each to the fold that has the fewest images
    of that class, then the fewest images.

    Longest-processing-time scheduling: the spread of a fold is bounded by its last group. A group
    counts for the rarest class in it. Ties are broken by a seeded shuffle.
    """
    count = int(groups.max()) + 1
    if count < k:
        raise FoldError(f"{k} folds need {k} groups; the table has {count}")
    rows = np.arange(count)
    size = np.bincount(groups, minlength=count)
    holds = np.zeros((count, max(int(target.max()) + 1, 2)), dtype=np.int64)
    np.add.at(holds, (groups, target), 1)
    classes = _rarest_first(holds.sum(axis=0))
    rank = np.argmax(holds[:, classes] > 0, axis=1)
    held = holds[rows, classes[rank]]
    shuffled = np.random.default_rng(seed).permutation(count)
    order = shuffled[np.lexsort((-size[shuffled], -held[shuffled], rank[shuffled]))]
    fold_of_group = np.empty(count, dtype=np.int64)
    images, caught = np.zeros(k), np.zeros((len(classes), k))
    for group in order:
        # Groups of nothing but the last class only even out the number of images.
        last = rank[group] == len(classes) - 1
        keys = (images,) if last else (images, caught[classes[rank[group]]])
        fold = int(np.lexsort(keys)[0])
        fold_of_group[group] = fold
        images[fold] += size[group]
        caught[:, fold] += holds[group]
    return fold_of_group[groups]


def _rarest_first(sizes: Rows) -> Rows:
    """Class numbers by size; of two, the positives first, even where they are the most."""
    return np.array([1, 0]) if len(sizes) == 2 else np.argsort(sizes, kind="stable")
