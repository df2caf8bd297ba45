"""Intervals by cluster bootstrap: patients are drawn with replacement, with all their images.

Images of one patient are alike, so drawing images would make the interval too narrow (on SIIM's
table the patient-bootstrap standard error of the AUROC is about 1.3 times the image-bootstrap one).
A resample is a weight an image, so that no array is ever gathered or sorted again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import isfinite
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
# Weights (resamples, images) -> a value a resample.
Statistic = Callable[[Floats], Floats]
_BLOCK = 4_000_000  # weights held at a time


class Interval(NamedTuple):
    """A value and its 95 % percentile interval."""

    value: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float | None]:
        """`{value, low, high}`, as report.json has it: null where it is undefined, not NaN."""
        return {key: value if isfinite(value) else None for key, value in self._asdict().items()}


def bootstrap_interval(
    statistic: Statistic, groups: Integers, *, resamples: int, rng: np.random.Generator
) -> Interval:
    """The statistic on all rows and the 2.5 and 97.5 percentiles over resampled groups.

    `groups` numbers each row's cluster from 0. Resamples in which the statistic is undefined
    (one class only) are left out.
    """
    value = float(statistic(np.ones((1, len(groups))))[0])
    values = np.concatenate(
        [statistic(w) for w in resample_weights(groups, resamples=resamples, rng=rng)]
    )
    values = values[np.isfinite(values)]
    if not len(values):
        return Interval(value, float("nan"), float("nan"))
    low, high = np.percentile(values, [2.5, 97.5])
    return Interval(value, float(low), float(high))


def resample_weights(
    groups: Integers, *, resamples: int, rng: np.random.Generator
) -> Iterator[Floats]:
    """Blocks (b, N) of how often each row's group was drawn, `resamples` rows in all."""
    count = int(groups.max()) + 1
    block = max(1, _BLOCK // max(count, len(groups)))
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        drawn = rng.integers(0, count, size=(size, count))
        offsets = np.arange(size)[:, None] * count
        times = np.bincount((drawn + offsets).ravel(), minlength=size * count)
        yield times.reshape(size, count)[:, groups].astype(np.float64)
