"""Metrics of the order of a binary score, ties included. No scale of the score matters.

Every factory returns a Statistic: weights (R, N) -> (R,). With all weights 1 it equals
scikit-learn's function of the same name.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from melanoma.evaluation.metrics.bootstrap import SumStatistic
from melanoma.evaluation.metrics.weighted_sums import counts, divide, mean_of
from melanoma.types import Floats, Integers

_SCORES_AT_ONCE = 1024


def auroc(target: Integers, score: Floats) -> SumStatistic:
    """Area under the ROC curve: the chance that a positive outranks a negative, ties a half."""

    def combine(ones: Floats, zeros: Floats) -> Floats:
        below = np.cumsum(zeros, axis=0) - zeros
        caught = (ones * (below + zeros / 2)).sum(axis=0)
        return divide(caught, ones.sum(axis=0) * zeros.sum(axis=0))

    return _ranked(target, score, combine)


def partial_auroc(sensitivity: float, target: Integers, score: Floats) -> SumStatistic:
    """Area between the ROC curve and the line of a stated sensitivity, in [0, 1 - sensitivity].

    With 0.8 it is ISIC 2024's metric (chance gives 0.02): scikit-learn's `roc_auc_score` of the
    reversed labels and scores with `max_fpr = 1 - sensitivity`, McClish's standardization undone.
    """

    def combine(ones: Floats, zeros: Floats) -> Floats:
        positives = ones.sum(axis=0)
        # From the lowest score upwards: missed positives so far, then the part of this step that
        # the sensitivity still allows to be missed. Within a step the curve is a straight line.
        before = np.cumsum(ones, axis=0) - ones
        steps = np.divide(
            (1 - sensitivity) * positives - before, ones, out=np.zeros_like(ones), where=ones > 0
        )
        used = np.clip(steps, 0.0, 1.0)
        below = np.cumsum(zeros, axis=0) - zeros
        area = (ones * used * (below + used * zeros / 2)).sum(axis=0)
        return divide(area, positives * zeros.sum(axis=0))

    return _ranked(target, score, combine)


def average_precision(target: Integers, score: Floats) -> SumStatistic:
    """Area under the precision-recall curve as average precision (no interpolation).

    Chance gives the prevalence, which belongs beside it.
    """

    def combine(ones: Floats, zeros: Floats) -> Floats:
        true, false, area = np.zeros((3, ones.shape[1]))
        # So many scores at a time stay in the cache; where most are positive there are many.
        for start in range(0, len(ones), _SCORES_AT_ONCE):
            part = ones[start : start + _SCORES_AT_ONCE]
            hits = np.cumsum(part, axis=0) + true
            calls = np.cumsum(zeros[start : start + _SCORES_AT_ONCE], axis=0) + false + hits
            true, false = hits[-1].copy(), calls[-1] - hits[-1]
            # Scores above the first drawn row have no precision, and no recall to weigh it by.
            np.divide(hits, calls, out=hits, where=calls > 0)
            area = area + (hits * part).sum(axis=0)
        return divide(area, true)

    return _ranked(target, -score, combine, each_positive=True)


def sensitivity_at_specificity(specificity: float, target: Integers, score: Floats) -> SumStatistic:
    """Highest sensitivity of a threshold whose specificity is at least the stated one."""

    def combine(ones: Floats, zeros: Floats) -> Floats:
        negatives = zeros.sum(axis=0)
        allowed = (1 - specificity + 1e-12) * negatives
        caught = np.where(np.cumsum(zeros, axis=0) <= allowed, np.cumsum(ones, axis=0), 0.0)
        # Without negatives there is no specificity, and so nothing that could be reached at it.
        return divide(caught.max(axis=0), np.where(negatives > 0, ones.sum(axis=0), 0.0))

    return _ranked(target, -score, combine)


def macro_auroc(target: Integers, scores: Floats) -> SumStatistic:
    """Mean AUROC of each class against the rest, over the classes that are there and not alone.

    `target` numbers the classes, `scores` is (N, C). scikit-learn: multi_class="ovr", macro.
    """
    return _of_each_class(auroc, target, scores)


def macro_average_precision(target: Integers, scores: Floats) -> SumStatistic:
    """Mean average precision of each class against the rest, over the classes that are there."""
    return _of_each_class(average_precision, target, scores)


def threshold_at_sensitivity(sensitivity: float, target: Integers, score: Floats) -> float:
    """The highest score at which at least that share of the positives is caught (score >= it)."""
    caught = np.sort(score[target == 1])
    missed = int(np.floor((1 - sensitivity) * len(caught) + 1e-9))
    return float(caught[missed])


def threshold_at_specificity(specificity: float, target: Integers, score: Floats) -> float:
    """The lowest score at which at least that share of the negatives is below (score < it).

    Where that would leave out every score, the number right above the highest one: nothing is
    flagged then. The sensitivity there is sensitivity_at_specificity.
    """
    spared = np.sort(score[target == 0])
    needed = int(np.ceil(specificity * len(spared) - 1e-9))
    if needed <= 0:
        return float(score.min())
    above = score[score > spared[needed - 1]]
    return float(above.min() if len(above) else np.nextafter(spared[needed - 1], np.inf))


def _of_each_class(
    metric: Callable[[Integers, Floats], SumStatistic], target: Integers, scores: Floats
) -> SumStatistic:
    classes = range(scores.shape[1])
    return mean_of([metric((target == c).astype(np.int64), scores[:, c]) for c in classes])


def _ranked(
    target: Integers,
    score: Floats,
    combine: Callable[[Floats, Floats], Floats],
    *,
    each_positive: bool = False,
) -> SumStatistic:
    """`combine` gets the weights of positives and of negatives at each score, lowest first.

    Neighboring scores without a positive are one, and so are those without a negative, unless
    `each_positive`: no metric here changes between the former, and where one of both is rare there
    is little left to add up.
    """
    positive = target == 1
    distinct, place = np.unique(score, return_inverse=True)
    positives = np.bincount(place, weights=positive, minlength=len(distinct))
    holds = positives > 0
    lacks = holds if each_positive else positives < np.bincount(place, minlength=len(distinct))
    begins = np.ones(len(distinct), bool)
    begins[1:] = (holds[1:] | holds[:-1]) & (lacks[1:] | lacks[:-1])
    cell = (np.cumsum(begins) - 1)[place]
    cells = int(begins.sum())
    columns = counts(np.where(positive, cell, cell + cells), 2 * cells)
    return SumStatistic(columns, lambda sums: combine(sums[:cells], sums[cells:]))
