"""Metrics of probabilities equal scikit-learn's, or what can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn import metrics as sk
from sklearn.linear_model import LogisticRegression

from melanoma.evaluation.metrics.probability_scores import (
    calibration_line,
    class_brier_score,
    class_log_loss,
    equal_count_bins,
    exact_calibration_error,
    expected_calibration_error,
    reliability_bins,
)
from melanoma.types import Floats, Integers


def _error(target: Integers, probability: Floats, *, bins: int = 10) -> float:
    statistic = expected_calibration_error(target, probability, bins=bins)
    return float(statistic(np.ones((1, len(target))))[0])


def _honest(images: int, seed: int = 0) -> tuple[Integers, Floats]:
    rng = np.random.default_rng(seed)
    probability = rng.random(images) * 0.5
    return (rng.random(images) < probability).astype(np.int64), probability


def test_calibration_error_of_honest_and_of_bold_probabilities() -> None:
    target, honest = _honest(20_000)
    assert _error(target, honest) < 0.02
    assert _error(target, honest + 0.3) == pytest.approx(0.3, abs=0.02)


def test_calibration_error_by_hand_in_bins_of_equal_counts() -> None:
    probability = np.array([0.1, 0.2, 0.3, 0.9, 0.8, 0.7])
    target = np.array([0, 0, 1, 1, 1, 0])
    # Bins (.1 .2) (.3 .7) (.8 .9) with outcomes 0, .5 and 1.
    expected = (0.15 + 0.0 + 0.15) / 3
    assert _error(target, probability, bins=3) == pytest.approx(expected)


def test_calibration_error_weighs_images_within_the_same_bins() -> None:
    target, probability = _honest(200)
    weights = np.random.default_rng(1).integers(0, 4, (3, 200)).astype(np.float64)
    found = expected_calibration_error(target, probability)(weights)
    bin_of = equal_count_bins(probability, 10)
    for value, weight in zip(found, weights, strict=True):
        gaps = [
            abs(((probability - target) * weight)[bin_of == number].sum()) for number in range(10)
        ]
        assert value == pytest.approx(sum(gaps) / weight.sum())


def test_bins_hold_equally_many_images_and_equal_probabilities_share_one() -> None:
    _, probability = _honest(1003)
    sizes = np.bincount(equal_count_bins(probability, 10))
    assert sorted(set(sizes)) == [100, 101]
    order = np.argsort(probability)
    assert (np.diff(equal_count_bins(probability, 10)[order]) >= 0).all()
    tied = np.round(probability * 12) / 12
    bin_of = equal_count_bins(tied, 10)
    assert all(len(set(bin_of[tied == value])) == 1 for value in np.unique(tied))
    assert np.unique(bin_of).tolist() == list(range(bin_of.max() + 1))
    assert equal_count_bins(np.full(50, 0.3), 10).tolist() == [0] * 50


def test_the_order_of_the_rows_does_not_change_a_bin() -> None:
    target, probability = _honest(300)
    tied = np.round(probability * 12) / 12
    order = np.random.default_rng(0).permutation(300)
    assert reliability_bins(target[order], tied[order]) == reliability_bins(target, tied)


def test_a_reliability_bin_states_what_was_predicted_and_what_happened() -> None:
    probability = np.array([0.1, 0.3, 0.6, 0.8])
    bins = reliability_bins(np.array([0, 1, 1, 1]), probability, bins=2)
    assert [(round(b.predicted, 12), b.observed, b.images) for b in bins] == [
        (0.2, 0.5, 2),
        (0.7, 1.0, 2),
    ]
    assert all(b.low <= b.observed <= b.high for b in bins)


@pytest.mark.parametrize(
    ("hits", "images", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (1, 29, 0.0061, 0.1718)],
)
def test_a_bin_s_interval_is_that_of_a_published_table(
    hits: int, images: int, low: float, high: float
) -> None:
    """Newcombe, Statistics in Medicine 17 (1998), table I, method 3."""
    (found,) = reliability_bins(np.arange(images) < hits, np.full(images, 0.3))
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)


def test_the_interval_of_a_share_of_none_or_of_all_ends_exactly_there() -> None:
    for images in range(1, 300, 7):
        (none,) = reliability_bins(np.zeros(images, int), np.full(images, 0.3))
        (whole,) = reliability_bins(np.ones(images, int), np.full(images, 0.3))
        assert (none.low, whole.high) == (0.0, 1.0)


def test_the_calibration_line_is_scikit_learn_s_logistic_regression() -> None:
    rng = np.random.default_rng(3)
    odds = rng.normal(-1, 1.5, 4000)
    target = (rng.random(4000) < expit(0.6 * odds + 0.4)).astype(np.int64)
    found = calibration_line(target, expit(odds))
    theirs = LogisticRegression(C=np.inf, tol=1e-10).fit(odds[:, None], target)
    assert found.slope == pytest.approx(theirs.coef_[0, 0], rel=1e-4)
    # In the large: with this shift of the log-odds the mean prediction is the observed share.
    assert expit(odds + found.intercept).mean() == pytest.approx(target.mean(), abs=1e-9)


def test_the_calibration_line_of_honest_bold_and_high_probabilities() -> None:
    target, honest = _honest(60_000)
    line = calibration_line(target, honest)
    assert line == (pytest.approx(1, abs=0.03), pytest.approx(0, abs=0.05))
    assert calibration_line(target, expit(2 * logit(honest))).slope == pytest.approx(0.5, abs=0.02)
    assert calibration_line(target, expit(logit(honest) + 1)).intercept == pytest.approx(
        -1, abs=0.05
    )


@pytest.mark.parametrize(
    ("target", "probability"),
    [
        ([0, 0, 0], [0.1, 0.2, 0.3]),
        ([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9]),
        ([0, 1], [0.5, 0.5]),
        ([0, 1, 0], [0.3, 0.3, 0.3]),
    ],
)
def test_a_line_that_the_images_do_not_decide_is_undefined(
    target: list[int], probability: list[float]
) -> None:
    assert calibration_line(np.array(target), np.array(probability)).slope is None


@pytest.mark.parametrize(("images", "bins"), [(60, 10), (1000, 10), (1000, 4)])
def test_the_error_of_exact_probabilities_is_that_of_outcomes_drawn_by_them(
    images: int, bins: int
) -> None:
    rng = np.random.default_rng(0)
    said = rng.beta(1, 3, images)
    drawn = [
        float(
            expected_calibration_error(
                (rng.random(images) < said).astype(np.int64), said, bins=bins
            )(np.ones((1, images)))[0]
        )
        for _ in range(400)
    ]
    assert exact_calibration_error(said, bins=bins) == pytest.approx(np.mean(drawn), rel=0.1)
    # Four times the images: half of it. Where all is certain there is no chance.
    assert exact_calibration_error(np.tile(said, 4), bins=bins) == pytest.approx(
        exact_calibration_error(said, bins=bins) / 2, rel=0.02
    )
    assert exact_calibration_error(np.array([0.0, 1.0, 1.0])) == 0


def test_metrics_of_many_classes_are_scikit_learn_s_with_weights() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(5), 300)
    target = np.array([rng.choice(5, p=row) for row in probabilities])
    weights = rng.integers(0, 4, (3, 300)).astype(np.float64)
    loss = class_log_loss(target, probabilities)(weights)
    brier = class_brier_score(target, probabilities)(weights)
    for i, weight in enumerate(weights):
        options = {"labels": range(5), "sample_weight": weight}
        assert loss[i] == pytest.approx(sk.log_loss(target, probabilities, **options))
        expected = sk.brier_score_loss(target, probabilities, scale_by_half=False, **options)
        assert brier[i] == pytest.approx(expected)
