"""Metrics of a decision: flagged when score >= threshold, or the class that an image was called.

Every factory returns a Statistic: weights (R, N) -> (R,).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from melanoma.evaluation.metrics.bootstrap import SumStatistic
from melanoma.evaluation.metrics.weighted_sums import (
    counts,
    divide,
    mean,
    mean_of,
    mean_of_defined,
    share,
)
from melanoma.types import Floats, Integers


def sensitivity_at(threshold: float, target: Integers, score: Floats) -> SumStatistic:
    """Share of positives with score >= threshold."""
    return share(of=target == 1, that=score >= threshold)


def specificity_at(threshold: float, target: Integers, score: Floats) -> SumStatistic:
    """Share of negatives with score < threshold."""
    return share(of=target == 0, that=score < threshold)


def positive_predictive_value_at(threshold: float, target: Integers, score: Floats) -> SumStatistic:
    """Share of positives among the images with score >= threshold."""
    return share(of=score >= threshold, that=target == 1)


def negative_predictive_value_at(threshold: float, target: Integers, score: Floats) -> SumStatistic:
    """Share of negatives among the images with score < threshold."""
    return share(of=score < threshold, that=target == 0)


def accuracy_at(threshold: float, target: Integers, score: Floats) -> SumStatistic:
    """Share of images that are flagged and positive, or neither."""
    return mean(((score >= threshold) == (target == 1)).astype(np.float64))


def balanced_accuracy_at(threshold: float, target: Integers, score: Floats) -> SumStatistic:
    """Mean of sensitivity and specificity (of the one there is, where a class is absent)."""
    return mean_of(
        [sensitivity_at(threshold, target, score), specificity_at(threshold, target, score)]
    )


def accuracy(target: Integers, called: Integers) -> SumStatistic:
    """Share of images that were called what they are. Both number the classes from 0."""
    return mean((target == called).astype(np.float64))


def top_k_accuracy(k: int, target: Integers, scores: Floats) -> SumStatistic:
    """Share of images whose class is among the k highest of (N, C) scores; of ties the first."""
    highest = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return mean((highest == target[:, None]).any(axis=1).astype(np.float64))


def balanced_accuracy(target: Integers, called: Integers, *, classes: int) -> SumStatistic:
    """Mean recall over the classes that are there."""
    return _from_confusion(target, called, classes, lambda table: mean_of_defined(_recall(table)))


def macro_f1(target: Integers, called: Integers, *, classes: int) -> SumStatistic:
    """Mean F1 over the classes that are there or were called.

    In a resample without a class that class has no F1; scikit-learn's is the same on the resampled
    rows themselves (its weights would count that class as 0).
    """
    return _from_confusion(target, called, classes, lambda table: mean_of_defined(_f1(table)))


def class_precision(
    number: int, target: Integers, called: Integers, *, classes: int
) -> SumStatistic:
    """Share of images of the class among those called so; undefined where none was."""
    del classes
    return share(of=called == number, that=target == number)


def class_recall(number: int, target: Integers, called: Integers, *, classes: int) -> SumStatistic:
    """Share of the class's images that were called so; undefined where there is none."""
    del classes
    return share(of=target == number, that=called == number)


def class_f1(number: int, target: Integers, called: Integers, *, classes: int) -> SumStatistic:
    """Harmonic mean of precision and recall: 2 TP / (2 TP + FP + FN)."""
    return _from_confusion(target, called, classes, lambda table: _f1(table)[number])


def confusion_matrix(target: Integers, called: Integers, *, classes: int) -> Integers:
    """(classes, classes) counts: row i, column j are images of class i that were called j."""
    cells = np.bincount(target * classes + called, minlength=classes * classes)
    return cells.reshape(classes, classes)


def _from_confusion(
    target: Integers, called: Integers, classes: int, combine: Callable[[Floats], Floats]
) -> SumStatistic:
    """`combine` gets weighted confusion matrices, (classes, classes, resamples)."""
    columns = counts(target * classes + called, classes * classes)
    return SumStatistic(columns, lambda sums: combine(sums.reshape(classes, classes, -1)))


def _right(table: Floats) -> Floats:
    right: Floats = np.einsum("ccr->cr", table)
    return right


def _recall(table: Floats) -> Floats:
    return divide(_right(table), table.sum(axis=1))


def _f1(table: Floats) -> Floats:
    return divide(2 * _right(table), table.sum(axis=0) + table.sum(axis=1))
