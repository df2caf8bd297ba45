"""Metrics of the class that an image was called are scikit-learn's, class by class."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from sklearn import metrics as sk

from melanoma.evaluation.metrics.bootstrap import Statistic, bootstrap_intervals
from melanoma.evaluation.metrics.decisions import (
    accuracy,
    balanced_accuracy,
    class_f1,
    class_precision,
    class_recall,
    confusion_matrix,
    macro_f1,
    top_k_accuracy,
)
from melanoma.evaluation.metrics.ranking import macro_auroc, macro_average_precision
from melanoma.types import Floats, Integers

CLASSES = 5


def _scores(images: int = 240, seed: int = 0) -> tuple[Integers, Floats]:
    """Classes of unequal size and probabilities with some skill."""
    rng = np.random.default_rng(seed)
    target = rng.choice(CLASSES, images, p=[0.5, 0.25, 0.15, 0.07, 0.03])
    odds = rng.normal(size=(images, CLASSES)) + 1.2 * np.eye(CLASSES)[target]
    powers = np.exp(odds)
    return target, powers / powers.sum(axis=1, keepdims=True)


def _of_call(function: Callable[..., float], **options: object) -> Callable[..., float]:
    return lambda target, scores, weight: function(
        target, scores.argmax(axis=1), sample_weight=weight, **options
    )


def _of_class(function: Callable[..., Floats], number: int) -> Callable[..., float]:
    return lambda target, scores, weight: function(
        target,
        scores.argmax(axis=1),
        labels=range(CLASSES),
        average=None,
        sample_weight=weight,
        zero_division=np.nan,
    )[number]


METRICS: dict[str, tuple[Callable[[Integers, Floats], Statistic], Callable[..., float]]] = {
    "accuracy": (lambda t, s: accuracy(t, s.argmax(axis=1)), _of_call(sk.accuracy_score)),
    "balanced accuracy": (
        lambda t, s: balanced_accuracy(t, s.argmax(axis=1), classes=CLASSES),
        _of_call(sk.balanced_accuracy_score),
    ),
    "macro F1": (
        lambda t, s: macro_f1(t, s.argmax(axis=1), classes=CLASSES),
        _of_call(sk.f1_score, average="macro"),
    ),
    "top 2": (
        lambda t, s: top_k_accuracy(2, t, s),
        lambda t, s, w: sk.top_k_accuracy_score(t, s, k=2, labels=range(CLASSES), sample_weight=w),
    ),
    "macro AUROC": (
        macro_auroc,
        lambda t, s, w: sk.roc_auc_score(t, s, multi_class="ovr", sample_weight=w),
    ),
    "macro average precision": (
        macro_average_precision,
        lambda t, s, w: sk.average_precision_score(np.eye(CLASSES)[t], s, sample_weight=w),
    ),
    **{
        f"{name} of class {number}": (
            lambda t, s, ours=ours, number=number: ours(
                number, t, s.argmax(axis=1), classes=CLASSES
            ),
            _of_class(theirs, number),
        )
        for number in (0, 3)
        for name, ours, theirs in (
            ("precision", class_precision, sk.precision_score),
            ("recall", class_recall, sk.recall_score),
            ("F1", class_f1, sk.f1_score),
        )
    },
}


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_of_many_classes_is_scikit_learn_s_with_weights(name: str) -> None:
    ours, theirs = METRICS[name]
    target, scores = _scores()
    weights = np.random.default_rng(1).integers(1, 4, (4, len(target))).astype(np.float64)
    weights[0] = 1
    found = ours(target, scores)(weights)
    for value, weight in zip(found, weights, strict=True):
        assert value == pytest.approx(theirs(target, scores, weight), abs=1e-12)


@pytest.mark.parametrize("name", METRICS)
def test_weights_are_repeated_rows_even_where_a_class_is_drawn_out(name: str) -> None:
    target, scores = _scores(60)
    weights = np.random.default_rng(2).integers(0, 3, (6, 60)).astype(np.float64)
    weights[0, target == 4] = 0
    weights[0, scores.argmax(axis=1) == 4] = 0
    ours = METRICS[name][0]
    for value, weight in zip(ours(target, scores)(weights), weights, strict=True):
        rows = np.repeat(np.arange(60), weight.astype(int))
        again = ours(target[rows], scores[rows])(np.ones((1, len(rows))))
        assert value == pytest.approx(again[0], abs=1e-12, nan_ok=True)


def test_a_class_that_is_drawn_out_counts_no_zero_for_balanced_accuracy_and_f1() -> None:
    target, called = np.array([0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 2])
    without = np.array([[1.0, 1, 1, 1, 0]])
    assert balanced_accuracy(target, called, classes=3)(without)[0] == 1
    assert macro_f1(target, called, classes=3)(without)[0] == 1
    assert np.isnan(class_recall(2, target, called, classes=3)(without)[0])


def test_the_confusion_matrix_is_scikit_learn_s_with_empty_classes_kept() -> None:
    target, scores = _scores()
    called = np.where(scores.argmax(axis=1) == 2, 0, scores.argmax(axis=1))
    found = confusion_matrix(target, called, classes=6)
    assert (found == sk.confusion_matrix(target, called, labels=range(6))).all()


def test_among_tied_scores_the_first_class_is_the_one_that_argmax_takes() -> None:
    scores = np.random.default_rng(0).integers(0, 3, (50, 60)) / 3
    ones = np.ones((1, 50))
    assert top_k_accuracy(1, scores.argmax(axis=1), scores)(ones)[0] == 1
    assert top_k_accuracy(60, np.arange(50), scores)(ones)[0] == 1


def test_a_rare_class_s_recall_has_an_interval_of_the_resamples_that_hold_it() -> None:
    target, called = np.array([0] * 38 + [1] * 2), np.array([0] * 38 + [1, 0])
    recall = {"recall": class_recall(1, target, called, classes=2)}
    rng = np.random.default_rng(0)
    found = bootstrap_intervals(recall, np.arange(40), resamples=400, rng=rng)["recall"]
    assert (found.value, found.low, found.high) == (0.5, 0.0, 1.0)
    # (38/40)^40 = 0.13 of the resamples hold none.
    assert 30 < found.undefined < 75
