"""Metrics of probabilities: how far they are from what happened, and whether they mean it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.special import expit, logit

from melanoma.evaluation.metrics.bootstrap import SumStatistic
from melanoma.evaluation.metrics.weighted_sums import counts, divide, mean
from melanoma.evaluation.report.schema_parts import ReliabilityBin
from melanoma.types import Floats, Integers

_SURE = 1e-15


def brier_score(target: Integers, probability: Floats) -> SumStatistic:
    """Mean squared distance of probability and outcome, in [0, 1]; 0 is best."""
    return mean((probability - target) ** 2)


def log_loss(target: Integers, probability: Floats) -> SumStatistic:
    """Mean negative log-likelihood, in nats."""
    safe = np.clip(probability, _SURE, 1 - _SURE)
    return mean(-np.where(target == 1, np.log(safe), np.log1p(-safe)))


def class_brier_score(target: Integers, probabilities: Floats) -> SumStatistic:
    """Squared distances summed over the classes, in [0, 2] (Brier 1950); probabilities (N, C)."""
    outcome = np.eye(probabilities.shape[1])[target]
    return mean(((probabilities - outcome) ** 2).sum(axis=1))


def class_log_loss(target: Integers, probabilities: Floats) -> SumStatistic:
    """Mean negative log of the true class's probability, in nats; probabilities (N, C)."""
    true = probabilities[np.arange(len(target)), target]
    return mean(-np.log(np.clip(true, _SURE, 1.0)))


def expected_calibration_error(
    target: Integers, probability: Floats, *, bins: int = 10
) -> SumStatistic:
    """Mean distance of probability and outcome over bins that hold equally many images.

    The bins are those of all images, kept in the resamples. A distance has no sign, so noise only
    raises it: of perfect probabilities it is not 0, and in a resample, which has the noise twice,
    it is higher than on the images themselves. The interval is therefore moved back by that rise.
    """
    bin_of = equal_count_bins(probability, bins)
    used = int(bin_of.max()) + 1
    gaps = counts(bin_of, used).multiply((probability - target)[None, :])
    columns = sparse.csr_array(sparse.vstack([gaps, np.ones((1, len(target)))]))

    def combine(sums: Floats) -> Floats:
        return divide(np.abs(sums[:-1]).sum(axis=0), sums[-1])

    return SumStatistic(columns, combine, recentered=True)


def exact_calibration_error(probability: Floats, *, bins: int = 10) -> float:
    """The calibration error that exact probabilities of these values show, on average, where each
    image is a melanoma by that chance and for itself.

    So much is the noise of few images alone. A bin's gap is taken as normal, of the variance
    sum p (1 - p): its mean size is then the root of 2 / pi times that (Broecker and Smith 2007 on
    what chance alone draws into a reliability diagram). Images of one lesion make it larger.
    """
    bin_of = equal_count_bins(probability, bins)
    variance = np.bincount(bin_of, probability * (1 - probability))
    return float(np.sqrt(2 / np.pi * variance).sum() / len(probability))


def equal_count_bins(probability: Floats, bins: int) -> Integers:
    """(N,) numbers of the bins, from 0 without gaps, lowest probabilities first.

    Cut as np.array_split would cut the sorted images; equal probabilities stay together, in the
    bin of their middle, so the order of the rows does not matter.
    """
    images = len(probability)
    cuts = np.array([len(part) for part in np.array_split(np.arange(images), min(bins, images))])
    _, place, times = np.unique(probability, return_inverse=True, return_counts=True)
    middle = np.cumsum(times) - (times + 1) // 2
    raw = np.searchsorted(np.cumsum(cuts), middle, side="right")
    return np.unique(raw, return_inverse=True)[1].astype(np.int64)[place]


def reliability_bins(
    target: Integers, probability: Floats, *, bins: int = 10
) -> tuple[ReliabilityBin, ...]:
    """The reliability curve: bins of equal counts, the observed share with Wilson's interval.

    Wilson's takes the images as independent: it is a guide for the eye. (Wilson 1927.)
    """
    from scipy.stats import binomtest

    bin_of = equal_count_bins(probability, bins)
    curve = []
    for number in range(int(bin_of.max()) + 1):
        own = bin_of == number
        images, hits = int(own.sum()), int(target[own].sum())
        share = binomtest(hits, images).proportion_ci(method="wilson")
        curve.append(
            ReliabilityBin(
                predicted=float(probability[own].mean()),
                observed=hits / images,
                low=float(share.low),
                high=float(share.high),
                images=images,
            )
        )
    return tuple(curve)


class CalibrationLine(NamedTuple):
    """Logistic recalibration (Cox 1958): None where a class is absent or the classes separate.

    `slope` of observed on predicted log-odds: 1 is right, below 1 too extreme. `intercept` is
    calibration in the large, with the slope held at 1: 0 is right, below 0 predicted too high.
    """

    slope: float | None
    intercept: float | None


def calibration_line(target: Integers, probability: Floats) -> CalibrationLine:
    """Slope and intercept that make these probabilities most likely; 1 and 0 are perfect."""
    odds = logit(np.clip(probability, _SURE, 1 - _SURE))
    nothing = np.zeros(len(odds))
    slope = _logistic(np.stack([odds, np.ones(len(odds))], axis=1), target, offset=nothing)[0]
    return CalibrationLine(slope, _logistic(np.ones((len(odds), 1)), target, offset=odds)[0])


def _logistic(inputs: Floats, target: Integers, *, offset: Floats) -> list[float | None]:
    """Maximum-likelihood coefficients by Newton's steps, halved where they overshoot."""
    estimates = np.zeros(inputs.shape[1])
    undefined: list[float | None] = [None] * len(estimates)

    def loss(coefficients: Floats) -> float:
        line = inputs @ coefficients + offset
        return float(np.logaddexp(0, np.where(target == 1, -line, line)).sum())

    for _ in range(60):
        probability = expit(inputs @ estimates + offset)
        weight = probability * (1 - probability)
        gradient = inputs.T @ (target - probability)
        curvature = inputs.T @ (inputs * weight[:, None])
        # Scores all alike decide no slope; of separate classes the search has no end.
        if not np.linalg.cond(curvature) < 1e14:
            return undefined
        step = np.linalg.solve(curvature, gradient)
        while loss(estimates + step) > loss(estimates) + 1e-9 and np.abs(step).max() > 1e-12:
            step = step / 2
        estimates = estimates + step
        if np.abs(step).max() < 1e-9:
            return [float(value) for value in estimates]
    return undefined
