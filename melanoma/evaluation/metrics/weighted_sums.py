"""Pieces that metrics are made of: sums of one row of numbers, shares, means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy import sparse

from melanoma.evaluation.metrics.bootstrap import SumStatistic
from melanoma.types import Flags, Floats, Integers


def share(*, of: Flags, that: Flags) -> SumStatistic:
    """Weighted share of the images `of` that are `that`; undefined where there are none."""
    return replace(ratio(of & that, of), share_of=of)


def mean(values: Floats) -> SumStatistic:
    """Weighted mean of a number an image."""
    return ratio(values, np.ones(len(values)))


def ratio(part: npt.ArrayLike, whole: npt.ArrayLike) -> SumStatistic:
    """Weighted sum of `part` over that of `whole`, each a number an image."""
    columns = sparse.csr_array(np.stack([part, whole]).astype(np.float64))
    return SumStatistic(columns, lambda sums: divide(sums[0], sums[1]))


def counts(cell: Integers, cells: int) -> sparse.csr_array:
    """(cells, images): each image counts in the cell that it is numbered with."""
    images = len(cell)
    return sparse.csr_array(
        (np.ones(images), (cell, np.arange(images))), shape=(cells, images), dtype=np.float64
    )


def mean_of(parts: Sequence[SumStatistic]) -> SumStatistic:
    """Unweighted mean of the statistics that are defined in a resample."""
    ends = np.cumsum([part.columns.shape[0] for part in parts])[:-1]

    def combine(sums: Floats) -> Floats:
        pieces = zip(parts, np.split(sums, ends), strict=True)
        return mean_of_defined(np.stack([part.combine(own) for part, own in pieces]))

    columns = sparse.csr_array(sparse.vstack([part.columns for part in parts]))
    return SumStatistic(columns, combine)


def mean_of_defined(values: Floats) -> Floats:
    """Mean over the first axis, NaN left out; NaN where all are."""
    defined = np.isfinite(values)
    return divide(np.where(defined, values, 0.0).sum(axis=0), defined.sum(axis=0))


def divide(part: Floats, whole: npt.ArrayLike) -> Floats:
    """NaN where there is nothing to divide by: undefined, not zero."""
    whole = np.asarray(whole)
    quotient: Floats = np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=whole > 0)
    return quotient
