"""FoldData: what one fold trains on and is scored on, and what its class balance means."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from melanoma.data.arrays import ImageArray
from melanoma.data.folds import FoldTable
from melanoma.data.leaks import LeakAudit
from melanoma.data.loaders import Rows
from melanoma.errors import DataError
from melanoma.evaluation.calibration import prior_shift
from melanoma.evaluation.scores import COLUMNS, ScoreTable
from melanoma.models.losses import positive_weight
from melanoma.recipe import Recipe


@dataclass(frozen=True)
class FoldData:
    """What a fold trains on: the array, its rows in both parts, and targets by array row."""

    array: ImageArray
    folds: FoldTable
    fold: int
    training: Rows
    validation: Rows
    targets: npt.NDArray[np.int64]
    audit: LeakAudit

    @property
    def positives(self) -> int:
        """Positives in the training part."""
        return int(self.targets[self.training].sum())


def select_fold(
    array: ImageArray, folds: FoldTable, fold: int, *, audit: LeakAudit | None = None
) -> FoldData:
    """The fold's parts as rows of the array.

    Raises FoldError for a fold that is absent or has one class, DataError when the fold file and
    the array do not hold the same images.
    """
    names = folds.frame["image_name"].tolist()
    absent = [name for name in names if name not in array.row_of]
    foreign = set(array.names) - set(names)
    if absent or foreign:
        example = (absent or sorted(foreign))[0]
        raise DataError(
            f"the fold file and {array.path} hold different images ({len(absent)} only in the "
            f"fold file, {len(foreign)} only in the array, such as {example}); "
            "rebuild one of them: python -m melanoma.split, or --arrays DIR"
        )
    rows = np.array([array.row_of[name] for name in names], dtype=np.int64)
    targets = np.full(len(array.names), -1, dtype=np.int64)
    targets[rows] = folds.frame["target"].to_numpy()
    training, validation = folds.rows(fold)
    return FoldData(
        array, folds, fold, rows[training], rows[validation], targets, audit or LeakAudit()
    )


def loss_weight(recipe: Recipe, data: FoldData) -> float:
    return positive_weight(
        len(data.training) - data.positives,
        data.positives,
        rule=recipe.loss.positive_weight,
        cap=recipe.loss.cap,
    )


def shown_share(recipe: Recipe, data: FoldData) -> float:
    """The share of positives that the loss sees, weight and sampler counted in."""
    share = data.positives / len(data.training)
    if recipe.sampler.name == "balanced":
        share = recipe.sampler.positive_share
    odds = share / (1 - share) * loss_weight(recipe, data)
    return odds / (1 + odds)


def fold_prior_shift(recipe: Recipe, data: FoldData) -> float:
    balanced = recipe.sampler.name == "balanced"
    return prior_shift(
        positive_weight=loss_weight(recipe, data),
        sampled_share=recipe.sampler.positive_share if balanced else None,
        training_share=data.positives / len(data.training),
    )


def score_table(
    data: FoldData,
    *,
    kept: npt.NDArray[np.float64],
    best: npt.NDArray[np.float64],
    last: npt.NDArray[np.float64],
) -> ScoreTable:
    frame = data.folds.frame
    held_out = frame[frame["fold"] == data.fold]
    scored = held_out.assign(logit=kept, logit_best=best, logit_last=last)
    return ScoreTable(scored[list(COLUMNS)].reset_index(drop=True))
