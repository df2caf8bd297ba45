"""Metrics of a binary score, each for many bootstrap resamples at once.

Every factory returns a Statistic: weights (R, N) -> (R,). With all weights 1 it equals
scikit-learn's function of the same name, ties included.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from melanoma.evaluation.intervals import Floats, Integers, Statistic


def auroc(target: Integers, score: Floats) -> Statistic:
    """Area under the ROC curve: the chance that a positive outranks a negative, ties a half."""
    order = np.argsort(score, kind="stable")
    positive, starts = target[order] == 1, _starts(score[order])

    def statistic(weights: Floats) -> Floats:
        ones, zeros = _per_score(weights[:, order], positive, starts)
        below = np.cumsum(zeros, axis=1) - zeros
        caught = (ones * (below + zeros / 2)).sum(axis=1)
        return _divide(caught, ones.sum(axis=1) * zeros.sum(axis=1))

    return statistic


def average_precision(target: Integers, score: Floats) -> Statistic:
    """Area under the precision-recall curve as average precision (no interpolation)."""
    order = np.argsort(-score, kind="stable")
    positive, starts = target[order] == 1, _starts(score[order])

    def statistic(weights: Floats) -> Floats:
        ones, zeros = _per_score(weights[:, order], positive, starts)
        true = np.cumsum(ones, axis=1)
        precision = _divide(true, true + np.cumsum(zeros, axis=1))
        # Scores above the first drawn row have no precision, and no recall to weigh it by.
        return _divide((np.nan_to_num(precision) * ones).sum(axis=1), ones.sum(axis=1))

    return statistic


def sensitivity_at(threshold: float, target: Integers, score: Floats) -> Statistic:
    """Share of positives with score >= threshold."""
    return _share(of=target == 1, that=score >= threshold)


def specificity_at(threshold: float, target: Integers, score: Floats) -> Statistic:
    """Share of negatives with score < threshold."""
    return _share(of=target == 0, that=score < threshold)


def positive_predictive_value_at(threshold: float, target: Integers, score: Floats) -> Statistic:
    """Share of positives among the images with score >= threshold."""
    return _share(of=score >= threshold, that=target == 1)


def negative_predictive_value_at(threshold: float, target: Integers, score: Floats) -> Statistic:
    """Share of negatives among the images with score < threshold."""
    return _share(of=score < threshold, that=target == 0)


def sensitivity_at_specificity(specificity: float, target: Integers, score: Floats) -> Statistic:
    """Highest sensitivity of a threshold whose specificity is at least the stated one."""
    order = np.argsort(-score, kind="stable")
    positive, starts = target[order] == 1, _starts(score[order])

    def statistic(weights: Floats) -> Floats:
        ones, zeros = _per_score(weights[:, order], positive, starts)
        negatives = zeros.sum(axis=1)
        allowed = (1 - specificity + 1e-12) * negatives
        caught = np.where(
            np.cumsum(zeros, axis=1) <= allowed[:, None], np.cumsum(ones, axis=1), 0.0
        )
        # Without negatives there is no specificity, and so nothing that could be reached at it.
        return _divide(caught.max(axis=1), np.where(negatives > 0, ones.sum(axis=1), 0.0))

    return statistic


def brier_score(target: Integers, probability: Floats) -> Statistic:
    """Mean squared distance of probability and outcome; 0 is best."""
    return _mean((probability - target) ** 2)


def log_loss(target: Integers, probability: Floats) -> Statistic:
    """Mean negative log-likelihood, in nats."""
    safe = np.clip(probability, 1e-15, 1 - 1e-15)
    return _mean(-np.where(target == 1, np.log(safe), np.log1p(-safe)))


def expected_calibration_error(target: Integers, probability: Floats, *, bins: int = 10) -> float:
    """Mean distance of probability and outcome over bins that hold equally many images."""
    parts = np.array_split(np.argsort(probability, kind="stable"), min(bins, len(target)))
    gaps = [abs(probability[p].mean() - target[p].mean()) * len(p) for p in parts]
    return float(sum(gaps) / len(target))


def threshold_at_sensitivity(sensitivity: float, target: Integers, score: Floats) -> float:
    """The highest score at which at least that share of the positives is caught (score >= it)."""
    caught = np.sort(score[target == 1])
    missed = int(np.floor((1 - sensitivity) * len(caught) + 1e-9))
    return float(caught[missed])


def _starts(ranked: Floats) -> Integers:
    """Where each run of equal scores begins."""
    return np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))


def _per_score(
    weights: Floats, positive: npt.NDArray[np.bool_], starts: Integers
) -> tuple[Floats, Floats]:
    """(R, distinct scores) weights of positives and of negatives."""
    ones = np.add.reduceat(weights * positive, starts, axis=1)
    zeros = np.add.reduceat(weights * ~positive, starts, axis=1)
    return ones, zeros


def _share(*, of: npt.NDArray[np.bool_], that: npt.NDArray[np.bool_]) -> Statistic:
    whole, part = of.astype(np.float64), (of & that).astype(np.float64)
    return lambda weights: _divide(weights @ part, weights @ whole)


def _mean(values: Floats) -> Statistic:
    return lambda weights: _divide(weights @ values, weights.sum(axis=1))


def _divide(part: Floats, whole: Floats) -> Floats:
    """NaN where there is nothing to divide by: undefined, not zero."""
    quotient: Floats = np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=whole > 0)
    return quotient
