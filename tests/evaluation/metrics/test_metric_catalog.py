"""Every metric is scikit-learn's, with ties and with weights, for all resamples at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from sklearn import metrics as sk

from melanoma.evaluation.metrics.bootstrap import Statistic
from melanoma.evaluation.metrics.decisions import (
    accuracy_at,
    balanced_accuracy_at,
    negative_predictive_value_at,
    positive_predictive_value_at,
    sensitivity_at,
    specificity_at,
)
from melanoma.evaluation.metrics.probability_scores import brier_score, log_loss
from melanoma.evaluation.metrics.ranking import (
    auroc,
    average_precision,
    partial_auroc,
    sensitivity_at_specificity,
    threshold_at_sensitivity,
    threshold_at_specificity,
)
from melanoma.types import Floats, Integers

Make = Callable[[Integers, Floats], Statistic]
Theirs = Callable[..., float]
THRESHOLD = 0.4


def _decide(score: Floats) -> Integers:
    return (score >= THRESHOLD).astype(np.int64)


def _sensitivity_at_specificity(target: Integers, score: Floats, *, sample_weight: Floats) -> float:
    false, true, _ = sk.roc_curve(
        target, score, sample_weight=sample_weight, drop_intermediate=False
    )
    return float(true[1 - false >= 0.9 - 1e-12].max())


def _isic_2024(target: Integers, score: Floats, *, sample_weight: Floats) -> float:
    """ISIC 2024's partial AUROC: scikit-learn's of the mirror image, its scaling undone."""
    widest = 1 - 0.8
    scaled = sk.roc_auc_score(1 - target, -score, max_fpr=widest, sample_weight=sample_weight)
    chance = widest**2 / 2
    return float(chance + (widest - chance) / (1 - 0.5) * (scaled - 0.5))


def _decision(function: Theirs, **options: int) -> Theirs:
    return lambda target, score, **more: function(target, _decide(score), **options, **more)


METRICS: dict[str, tuple[Make, Theirs]] = {
    "auroc": (auroc, sk.roc_auc_score),
    "average_precision": (average_precision, sk.average_precision_score),
    "partial_auroc": (partial(partial_auroc, 0.8), _isic_2024),
    "brier_score": (brier_score, sk.brier_score_loss),
    "log_loss": (log_loss, sk.log_loss),
    "sensitivity": (partial(sensitivity_at, THRESHOLD), _decision(sk.recall_score)),
    "specificity": (partial(specificity_at, THRESHOLD), _decision(sk.recall_score, pos_label=0)),
    "ppv": (partial(positive_predictive_value_at, THRESHOLD), _decision(sk.precision_score)),
    "npv": (
        partial(negative_predictive_value_at, THRESHOLD),
        _decision(sk.precision_score, pos_label=0),
    ),
    "accuracy": (partial(accuracy_at, THRESHOLD), _decision(sk.accuracy_score)),
    "balanced_accuracy": (
        partial(balanced_accuracy_at, THRESHOLD),
        _decision(sk.balanced_accuracy_score),
    ),
    "sensitivity_at_specificity": (
        partial(sensitivity_at_specificity, 0.9),
        _sensitivity_at_specificity,
    ),
}


@pytest.fixture(params=list(METRICS))
def metric(request: pytest.FixtureRequest) -> tuple[Make, Theirs]:
    return METRICS[request.param]


def _scores(seed: int, *, images: int = 120, levels: int = 15) -> tuple[Integers, Floats]:
    """Targets and tied scores in (0, 1), better than chance."""
    rng = np.random.default_rng(seed)
    target = (rng.random(images) < 0.25).astype(np.int64)
    score = np.clip(rng.normal(0.35 + 0.25 * target, 0.2), 0.02, 0.98)
    return target, np.round(score * levels) / levels * 0.96 + 0.02


@pytest.mark.parametrize("levels", [3, 15, 10**9])
@pytest.mark.parametrize("seed", range(4))
def test_a_metric_is_scikit_learn_s_ties_included(
    metric: tuple[Make, Theirs], seed: int, levels: int
) -> None:
    ours, theirs = metric
    target, score = _scores(seed, levels=levels)
    ones = np.ones((1, len(target)))
    assert ours(target, score)(ones) == pytest.approx(
        [theirs(target, score, sample_weight=ones[0])], abs=1e-12
    )


@pytest.mark.parametrize("seed", range(4))
def test_whole_weights_are_repeated_rows_and_scikit_learn_s_weights(
    metric: tuple[Make, Theirs], seed: int
) -> None:
    ours, theirs = metric
    target, score = _scores(seed)
    weights = np.random.default_rng(seed).integers(0, 4, (5, len(target)))
    found = ours(target, score)(weights.astype(np.float64))
    assert found.shape == (5,)
    for value, row in zip(found, weights, strict=True):
        times = np.repeat(np.arange(len(target)), row)
        repeated = ours(target[times], score[times])(np.ones((1, len(times))))
        assert value == pytest.approx(repeated[0], abs=1e-12)
        assert value == pytest.approx(
            theirs(target, score, sample_weight=row.astype(float)), abs=1e-12
        )


def test_the_order_of_the_rows_does_not_matter(metric: tuple[Make, Theirs]) -> None:
    target, score = _scores(1)
    order = np.random.default_rng(0).permutation(len(target))
    ones = np.ones((1, len(target)))
    ours = metric[0]
    assert ours(target[order], score[order])(ones) == pytest.approx(ours(target, score)(ones))


@pytest.mark.parametrize(
    ("make", "absent"),
    [
        (auroc, 0),
        (auroc, 1),
        (average_precision, 1),
        (partial(partial_auroc, 0.8), 0),
        (partial(partial_auroc, 0.8), 1),
        (METRICS["sensitivity"][0], 1),
        (METRICS["specificity"][0], 0),
        (partial(sensitivity_at_specificity, 0.9), 1),
        (partial(sensitivity_at_specificity, 0.9), 0),
    ],
)
def test_a_resample_without_the_class_is_undefined_and_not_zero(make: Make, absent: int) -> None:
    target, score = _scores(0)
    weights = np.stack([np.ones(len(target)), (target != absent).astype(float)])
    found = make(target, score)(weights)
    assert np.isfinite(found[0])
    assert np.isnan(found[1])


def test_a_threshold_that_flags_nothing_has_no_predictive_value() -> None:
    target, score = _scores(0)
    ones = np.ones((1, len(target)))
    assert np.isnan(positive_predictive_value_at(2.0, target, score)(ones)[0])
    assert np.isnan(negative_predictive_value_at(-1.0, target, score)(ones)[0])


def test_a_worked_example() -> None:
    # TP 347, FN 76, TN 550, FP 44.
    target = np.repeat([1, 1, 0, 0], [347, 76, 550, 44])
    score = np.repeat([0.9, 0.1, 0.1, 0.9], [347, 76, 550, 44])
    ones = np.ones((1, len(target)))
    found = {
        "sensitivity": sensitivity_at(0.5, target, score),
        "specificity": specificity_at(0.5, target, score),
        "ppv": positive_predictive_value_at(0.5, target, score),
        "npv": negative_predictive_value_at(0.5, target, score),
        "accuracy": accuracy_at(0.5, target, score),
    }
    assert {name: round(float(s(ones)[0]), 3) for name, s in found.items()} == {
        "sensitivity": 0.820,
        "specificity": 0.926,
        "ppv": 0.887,
        "npv": 0.879,
        "accuracy": 0.882,
    }


def test_a_score_at_the_threshold_is_flagged() -> None:
    target, score = np.array([1, 0]), np.array([0.5, 0.5])
    ones = np.ones((1, 2))
    assert sensitivity_at(0.5, target, score)(ones)[0] == 1.0
    assert specificity_at(0.5, target, score)(ones)[0] == 0.0


@pytest.mark.parametrize("wanted", [0.5, 0.8, 0.9, 0.95, 0.99])
@pytest.mark.parametrize("levels", [4, 30, 10**9])
def test_the_threshold_is_the_highest_that_reaches_the_sensitivity(
    wanted: float, levels: int
) -> None:
    for seed in range(10):
        target, score = _scores(seed, images=157, levels=levels)
        threshold = threshold_at_sensitivity(wanted, target, score)
        reached = (score[target == 1] >= threshold).mean()
        assert reached >= wanted - 1e-12
        higher = np.nextafter(threshold, 1)
        assert (score[target == 1] >= higher).mean() < wanted - 1e-12


def test_a_share_that_is_whole_in_mathematics_is_whole_here() -> None:
    # 0.05 x 20 and 0.1 x 30 are a little less than 1 and 3 in floating point.
    for wanted, positives, missed in ((0.95, 20, 1), (0.9, 30, 3), (0.8, 5, 1)):
        score = np.arange(positives, dtype=np.float64)
        target = np.ones(positives, np.int64)
        assert threshold_at_sensitivity(wanted, target, score) == missed


@pytest.mark.parametrize("sensitivity", [0.5, 0.8, 0.95])
def test_the_partial_area_is_that_under_the_curve_above_the_sensitivity(
    sensitivity: float,
) -> None:
    ones = np.ones((1, 400))
    for seed in range(5):
        target, score = _scores(seed, images=400)
        false, true, _ = sk.roc_curve(target, score)
        fine = np.interp(np.linspace(0, 1, 200_001), false, true)
        expected = np.maximum(fine - sensitivity, 0).mean()
        found = partial_auroc(sensitivity, target, score)(ones)[0]
        assert found == pytest.approx(expected, abs=1e-4)


def test_the_partial_area_of_a_perfect_score_of_chance_and_of_all_sensitivities() -> None:
    target, ones = np.repeat([0, 1], 50), np.ones((1, 100))
    assert partial_auroc(0.8, target, target * 1.0)(ones)[0] == pytest.approx(0.2)
    assert partial_auroc(0.8, target, np.zeros(100))(ones)[0] == pytest.approx(0.02)
    target, score = _scores(0, images=100)
    assert partial_auroc(0.0, target, score)(ones) == pytest.approx(auroc(target, score)(ones))


@pytest.mark.parametrize("wanted", [0.0, 0.5, 0.9, 0.95, 1.0])
@pytest.mark.parametrize("levels", [4, 30, 10**9])
def test_the_threshold_is_the_lowest_that_reaches_the_specificity(
    wanted: float, levels: int
) -> None:
    for seed in range(10):
        target, score = _scores(seed, images=157, levels=levels)
        threshold = threshold_at_specificity(wanted, target, score)
        assert (score[target == 0] < threshold).mean() >= wanted - 1e-12
        lower = score[score < threshold]
        if len(lower):
            assert (score[target == 0] < lower.max()).mean() < wanted - 1e-12
        caught = sensitivity_at(threshold, target, score)(np.ones((1, 157)))
        best = sensitivity_at_specificity(wanted, target, score)(np.ones((1, 157)))
        assert caught == pytest.approx(best)


def test_a_threshold_above_every_score_flags_nothing() -> None:
    target, score = np.array([1, 0, 0]), np.array([0.2, 0.9, 0.1])
    threshold = threshold_at_specificity(1.0, target, score)
    assert threshold == np.nextafter(0.9, 1)
    assert not (score >= threshold).any()
