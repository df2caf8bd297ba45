"""FoldData: what one fold trains on and is scored on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from melanoma.data.arrays import ImageArray
from melanoma.data.folds import FoldTable, label_folds
from melanoma.data.leaks import LeakAudit
from melanoma.errors import DataError
from melanoma.evaluation.score_table import ScoreTable, make_scores
from melanoma.recipe.sections import BINARY_CLASSES
from melanoma.training.source_rows import SourceRows
from melanoma.training.weights_origin import DIGITS
from melanoma.types import Integers


@dataclass(frozen=True)
class FoldData:
    """What a fold trains on: the array, its rows in both parts, and targets by array row.

    Targets are numbers in `classes`. The array's rows of a test part are in neither part, and have
    no target here. `allow_leak`: starting weights that saw held-out images are stated, not refused.
    `sources` have further rows that train, none of which is in the array.
    """

    array: ImageArray
    folds: FoldTable
    fold: int
    training: Integers
    validation: Integers
    targets: Integers
    audit: LeakAudit
    classes: tuple[str, ...] = BINARY_CLASSES
    allow_leak: bool = False
    sources: tuple[SourceRows, ...] = ()

    @property
    def seen_in_sources(self) -> dict[str, str]:
        """Names of the sources' training images, with the first digits of their digests."""
        return {
            source.table.array.names[row]: source.table.array.row_digests[row][:DIGITS]
            for source in self.sources
            for row in source.rows
        }

    def name_of(self, row: int) -> str:
        """The image of that row, counted through the array and then the sources'."""
        for array in (self.array, *(source.table.array for source in self.sources)):
            if row < len(array):
                return array.names[row]
            row -= len(array)
        raise IndexError(row)

    @property
    def class_counts(self) -> Integers:
        """(C,): images of each class in the training part."""
        return self.count(self.training)

    @property
    def positives(self) -> int:
        """Images of the second class, which of two is melanoma, in the training part."""
        return int(self.class_counts[1])

    def count(self, rows: Integers) -> Integers:
        """(C,): images of each class in `rows` of the array."""
        return np.bincount(self.targets[rows], minlength=len(self.classes))


def select_fold(
    array: ImageArray,
    folds: FoldTable,
    fold: int,
    *,
    classes: Sequence[str] = BINARY_CLASSES,
    audit: LeakAudit | None = None,
    allow_leak: bool = False,
) -> FoldData:
    """The fold's parts as rows of the array.

    Raises FoldError for a fold that is absent or lacks a class, or a table of other classes;
    DataError when the fold file and the array do not hold the same images.
    """
    folds = label_folds(folds, classes)
    names = folds.whole["image_name"].tolist()
    absent = [name for name in names if name not in array.row_of]
    foreign = set(array.names) - set(names)
    if absent or foreign:
        example = (absent or sorted(foreign))[0]
        raise DataError(
            f"the fold file and {array.path} hold different images ({len(absent)} only in the "
            f"fold file, {len(foreign)} only in the array, such as {example}); "
            "rebuild one of them: python -m melanoma.split, or --arrays DIR"
        )
    rows = np.array([array.row_of[name] for name in folds.frame["image_name"]], dtype=np.int64)
    targets = np.full(len(array.names), -1, dtype=np.int64)
    targets[rows] = folds.frame["target"].to_numpy()
    training, validation = folds.rows(fold)
    parts = rows[training], rows[validation]
    audit = audit or LeakAudit()
    return FoldData(array, folds, fold, *parts, targets, audit, tuple(classes), allow_leak)


def score_table(
    data: FoldData,
    *,
    selected: npt.NDArray[np.float64],
    best: npt.NDArray[np.float64],
    last: npt.NDArray[np.float64],
) -> ScoreTable:
    """The scores of the held-out images, (N, outputs) logits in their order."""
    frame = data.folds.frame
    logits = {"logit": selected, "logit_best": best, "logit_last": last}
    return make_scores(frame[frame["fold"] == data.fold], data.classes, logits)
