"""Net benefit is true positives less false ones at the odds of the threshold."""

from __future__ import annotations

import numpy as np
import pytest

from melanoma.evaluation.metrics.net_benefit import (
    decision_curve,
    net_benefit_at,
    threshold_grid,
    treat_all,
)
from melanoma.types import Floats, Integers


def _scores(images: int = 500, *, share: float = 0.2) -> tuple[Integers, Floats]:
    rng = np.random.default_rng(0)
    probability = rng.beta(share * 2, (1 - share) * 2, images)
    return (rng.random(images) < probability).astype(np.int64), probability


def test_treat_all_is_that_of_a_published_table() -> None:
    """Intervention to all patients, 30 % of them ill (PMC6993280, table 4)."""
    published = {
        0.03: 0.278,
        0.05: 0.263,
        0.08: 0.239,
        0.10: 0.222,
        0.20: 0.125,
        0.30: 0.0,
        0.40: -0.167,
        0.50: -0.4,
        0.60: -0.75,
        0.80: -2.5,
        0.96: -16.5,
    }
    for threshold, expected in published.items():
        assert treat_all(threshold, prevalence=0.3) == pytest.approx(expected, abs=5.1e-4)


def test_net_benefit_by_hand() -> None:
    # Of 1,000: 200 are ill; the model flags 160 of them and 180 of the others.
    target = np.repeat([1, 1, 0, 0], [160, 40, 180, 620])
    probability = np.repeat([0.3, 0.05, 0.3, 0.05], [160, 40, 180, 620])
    found = net_benefit_at(0.1, target, probability)(np.ones((1, 1000)))[0]
    assert found == pytest.approx(0.160 - 0.180 / 9)


@pytest.mark.parametrize("threshold", [0.02, 0.2, 0.5, 0.9])
def test_a_model_that_flags_everyone_or_no_one_is_treat_all_or_none(threshold: float) -> None:
    target, _ = _scores()
    ones = np.ones((1, len(target)))
    everyone = net_benefit_at(threshold, target, np.full(len(target), threshold))(ones)[0]
    assert everyone == pytest.approx(treat_all(threshold, prevalence=target.mean()))
    assert net_benefit_at(threshold, target, np.zeros(len(target)))(ones)[0] == 0


def test_weights_are_repeated_rows() -> None:
    target, probability = _scores(80)
    weights = np.random.default_rng(1).integers(0, 4, (5, 80))
    found = net_benefit_at(0.2, target, probability)(weights.astype(float))
    for value, weight in zip(found, weights, strict=True):
        rows = np.repeat(np.arange(80), weight)
        again = net_benefit_at(0.2, target[rows], probability[rows])(np.ones((1, len(rows))))
        assert value == pytest.approx(again[0])


@pytest.mark.parametrize(
    ("prevalence", "low", "high"), [(0.02, 0.005, 0.3), (0.51, 0.05, 0.95), (0.11, 0.0275, 0.71)]
)
def test_the_thresholds_suit_the_prevalence(prevalence: float, low: float, high: float) -> None:
    grid = threshold_grid(prevalence)
    assert (grid[0], grid[-1]) == pytest.approx((low, high), rel=0.04)
    assert (np.diff(grid) > 0).all()
    assert grid[0] < prevalence < grid[-1]


@pytest.mark.parametrize("prevalence", [0.0, 1.0])
def test_a_sample_of_one_class_still_has_thresholds_between_0_and_1(prevalence: float) -> None:
    grid = threshold_grid(prevalence)
    assert ((grid > 0) & (grid < 1)).all()
    assert len(np.unique(grid)) == len(grid)


def test_honest_probabilities_beat_treating_all_and_none_and_bold_ones_do_harm() -> None:
    target, probability = _scores(4000)
    groups = np.arange(4000)
    options = {"resamples": 100, "rng": np.random.default_rng(0)}
    curve = decision_curve(target, probability, groups, **options)
    for model, low, high, everyone in zip(
        curve.model, curve.model_low, curve.model_high, curve.treat_all, strict=True
    ):
        assert low <= model <= high
        assert model > max(everyone, 0) - 0.003
    bold = decision_curve(target, np.clip(probability + 0.4, 0, 1), groups, **options)
    assert min(bold.model) < -0.05
    assert curve.treat_all == bold.treat_all
    stated = decision_curve(target, probability, groups, thresholds=np.array([0.1, 0.3]), **options)
    assert stated.thresholds == (0.1, 0.3)
