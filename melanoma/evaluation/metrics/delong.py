"""AUROC's variance without resampling: DeLong, DeLong & Clarke-Pearson 1988, by midranks.

Sun & Xu 2014 get the placements from ranks, O(N log N). Images are taken as independent unless
`groups` is given: then the placements of a patient are summed (Obuchowski 1997), which is the
analytic counterpart of the cluster bootstrap. Intervals are the plain normal ones (value +- 1.96
standard errors), cut off at 0 and 1, as pROC and Stata print them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import ndtr
from scipy.stats import rankdata

from melanoma.evaluation.metrics.bootstrap import Interval
from melanoma.types import Floats, Integers

_Z = 1.959963984540054  # 97.5 % of a normal distribution lie below


class Difference(NamedTuple):
    """AUROC of the first score less that of the second, 95 % interval, two-sided p-value."""

    value: float
    low: float
    high: float
    p_value: float


def delong_interval(target: Integers, score: Floats, *, groups: Integers | None = None) -> Interval:
    """The AUROC with its 95 % interval; NaN limits with fewer than two of a class."""
    areas, covariance = auroc_covariance(target, score[None, :], groups=groups)
    half = _Z * float(np.sqrt(covariance[0, 0]))
    area = float(areas[0])
    return Interval(area, float(np.maximum(area - half, 0)), float(np.minimum(area + half, 1)))


def delong_difference(
    target: Integers, first: Floats, second: Floats, *, groups: Integers | None = None
) -> Difference:
    """Two scores of the same images, paired; p = 1 where the two never differ in rank."""
    areas, covariance = auroc_covariance(target, np.stack([first, second]), groups=groups)
    value = float(areas[0] - areas[1])
    contrast = np.array([1.0, -1.0])
    # Rounding can leave a little less than nothing.
    error = float(np.sqrt(np.maximum(contrast @ covariance @ contrast, 0.0)))
    if error < 1e-12:
        return Difference(value, value, value, 1.0 if abs(value) < 1e-12 else 0.0)
    p_value = 2 * float(ndtr(-abs(value) / error))
    return Difference(value, value - _Z * error, value + _Z * error, p_value)


def auroc_covariance(
    target: Integers, scores: Floats, *, groups: Integers | None = None
) -> tuple[Floats, Floats]:
    """(K,) AUROCs and their (K, K) covariance, of scores (K, N) of the same images."""
    positive = target == 1
    ones, zeros = int(positive.sum()), int((~positive).sum())
    if not ones or not zeros:
        return np.full(len(scores), np.nan), np.full((len(scores), len(scores)), np.nan)
    ranks = rankdata(scores, axis=1)
    # Share of negatives below a positive; share of positives above a negative. Ties count a half.
    above = (ranks[:, positive] - rankdata(scores[:, positive], axis=1)) / zeros
    below = 1 - (ranks[:, ~positive] - rankdata(scores[:, ~positive], axis=1)) / ones
    areas: Floats = above.mean(axis=1)
    cluster = np.arange(len(target)) if groups is None else groups
    of_ones = _summed(above - areas[:, None], cluster[positive], int(cluster.max()) + 1)
    of_zeros = _summed(below - areas[:, None], cluster[~positive], int(cluster.max()) + 1)
    holding = [len(np.unique(cluster[flags])) for flags in (positive, ~positive)]
    total = len(np.unique(cluster))
    crossed = of_ones @ of_zeros.T
    covariance = (
        _corrected(of_ones @ of_ones.T, holding[0]) / ones**2
        + _corrected(of_zeros @ of_zeros.T, holding[1]) / zeros**2
        + _corrected(crossed + crossed.T, total) / (ones * zeros)
    )
    return areas, covariance


def _summed(deviations: Floats, cluster: Integers, clusters: int) -> Floats:
    """(K, clusters) sums of placements less the AUROC."""
    return np.stack([np.bincount(cluster, weights=row, minlength=clusters) for row in deviations])


def _corrected(products: Floats, clusters: int) -> Floats:
    """NaN where one cluster holds the whole class: it says nothing of the next one."""
    if clusters < 2:
        return np.full_like(products, np.nan)
    return products * clusters / (clusters - 1)
