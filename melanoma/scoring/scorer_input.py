"""What a Scorer may be given: squares as its bundle reads them, and a number of views there is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from melanoma.data.images import Pixels
from melanoma.data.symmetries import SYMMETRIES
from melanoma.errors import DataError, RecipeError
from melanoma.scoring.bundle.bundle import Bundle

# A batch, or a list of the squares in one.
Squares: TypeAlias = Pixels | Sequence[Pixels]


def read_squares(squares: Squares, size: int) -> Pixels:
    """The squares as one array, a list of them stacked, in an order that every backend reads.

    Raises DataError for what is not (B, size, size, 3) uint8: networks give any size, and any
    scaling, an answer that was never evaluated.
    """
    batch = np.ascontiguousarray(squares)
    if batch.dtype != np.uint8 or batch.shape[1:] != (size, size, 3):
        raise DataError(
            f"squares of shape {batch.shape} and type {batch.dtype}: the bundle reads "
            f"(B, {size}, {size}, 3) uint8 RGB, 0 to 255; Scorer.square makes them"
        )
    return batch


def require_views(views: int | None) -> None:
    """Raise RecipeError for more views than a square has, or fewer than one."""
    if views is not None and not 1 <= views <= len(SYMMETRIES):
        raise RecipeError(f"views {views}: 1 to {len(SYMMETRIES)} symmetries of a square")


def input_warnings(bundle: Bundle, *, members: int, views: int) -> list[str]:
    """What every answer is warned of where a bundle is scored with so many members and views."""
    warnings = []
    if bundle.phantoms:
        warnings.append("trained_on_drawings")
    if members < bundle.folds_expected:
        warnings.append(f"fewer_folds: {members} of {bundle.folds_expected}")
    if views != bundle.views:
        warnings.append(f"views: scored with {views}, evaluated with {bundle.views}")
    return warnings
