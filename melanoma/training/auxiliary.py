"""A second target of the training: another column of the table, by a head that is dropped after."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from melanoma.errors import DataError
from melanoma.recipe.recipe import Recipe
from melanoma.storage import digest_of
from melanoma.training.fold_data import FoldData
from melanoma.training.function_types import LossFunction

_UNKNOWN = -1


def auxiliary_values(recipe: Recipe, data: FoldData) -> tuple[str, ...]:
    """The column's values in the fold file, in the order of their letters; none where no column is
    asked for. Raises DataError for a column that the fold file has not, or of fewer than two."""
    rules = recipe.loss.auxiliary
    if rules is None:
        return ()
    frame = data.folds.frame
    if rules.column not in frame:
        raise DataError(
            f"loss.auxiliary: the fold file has no column {rules.column!r}; name it in "
            "data.keep_cols before split"
        )
    values = sorted(set(frame[rules.column].astype(str)) - {"", "nan"})
    if len(values) < 2:
        raise DataError(f"loss.auxiliary: column {rules.column!r} has fewer than two values")
    return tuple(values)


def auxiliary_digest(recipe: Recipe, data: FoldData) -> str | None:
    """sha256 over what the column says of each image, which the digest of the folds leaves out;
    None where no column is asked for."""
    rules = recipe.loss.auxiliary
    if rules is None or rules.column not in data.folds.frame:
        return None
    rows = data.folds.frame[["image_name", rules.column]].astype(str)
    return digest_of(sorted(rows.itertuples(index=False, name=None)))


def auxiliary_targets(recipe: Recipe, data: FoldData, length: int) -> npt.NDArray[np.float32]:
    """(length,) the number of each row's value among auxiliary_values, -1 where it has none: as in
    a test part, and in every source."""
    values, rules = auxiliary_values(recipe, data), recipe.loss.auxiliary
    targets = np.full(length, _UNKNOWN, np.float32)
    if rules is None:
        return targets
    number = {value: n for n, value in enumerate(values)}
    frame = data.folds.frame
    for name, value in zip(frame["image_name"], frame[rules.column].astype(str), strict=True):
        targets[data.array.row_of[name]] = number.get(value, _UNKNOWN)
    return targets


class AuxiliaryLoss:
    """A loss of the first `outputs` logits, and `weight` times the cross-entropy of the others
    against the last column of the targets, over the rows that have a value there."""

    def __init__(self, loss: LossFunction, *, outputs: int, weight: float) -> None:
        self.loss, self.outputs, self.weight = loss, outputs, weight

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """`logits` (B, outputs + values) against `targets` (B, T + 1)."""
        own, value = targets[:, :-1], targets[:, -1]
        main = self.loss(logits[:, : self.outputs], own[:, 0] if own.shape[1] == 1 else own)
        known = (value >= 0).to(logits.dtype)
        number = value.clamp(min=0).to(torch.int64)
        other = F.cross_entropy(logits[:, self.outputs :].float(), number, reduction="none")
        return main + self.weight * (other * known).sum() / len(targets)
