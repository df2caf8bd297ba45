"""Two runs are compared on the same resamples, and no difference is found where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from melanoma.evaluation.compare.paired import Comparison, compare_runs, sign_p_value
from melanoma.evaluation.metrics.bootstrap import bootstrap_intervals
from melanoma.evaluation.metrics.delong import delong_difference
from melanoma.evaluation.metrics.probability_scores import brier_score, expected_calibration_error
from melanoma.evaluation.metrics.ranking import auroc
from melanoma.types import Floats, Integers


def _rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def _runs(
    *, gain: float, seed: int = 0, patients: int = 100
) -> tuple[Integers, Floats, Floats, Integers]:
    """Two scores of the same images, `gain` better the first; a patient's images are alike."""
    rng = _rng(seed)
    patient = np.repeat(np.arange(patients), 4)
    images = len(patient)
    target = (rng.random(images) < 0.3).astype(np.int64)
    shared = rng.normal(size=patients)[patient] + rng.normal(size=images)
    scores = [
        shared + 0.5 * rng.normal(size=patients)[patient] + 0.5 * rng.normal(size=images)
        for _ in range(2)
    ]
    return target, scores[0] + (1 + gain) * target, scores[1] + target, patient


def _compare(
    first: Floats, second: Floats, target: Integers, groups: Integers, *, resamples: int = 400
) -> Comparison:
    return compare_runs(
        {"auroc": auroc(target, first)},
        {"auroc": auroc(target, second)},
        groups,
        resamples=resamples,
        rng=_rng(1),
    )["auroc"]


def test_a_better_run_is_found_and_each_run_keeps_its_own_interval() -> None:
    target, first, second, patient = _runs(gain=0.8)
    found = _compare(first, second, target, patient)
    assert found.difference.low > 0
    assert found.p_value == pytest.approx(2 / 401)
    own = bootstrap_intervals({"auroc": auroc(target, first)}, patient, resamples=400, rng=_rng(1))
    assert found.first == own["auroc"]
    assert found.difference.value == pytest.approx(found.first.value - found.second.value)


def test_the_order_of_the_runs_changes_only_the_sign() -> None:
    target, first, second, patient = _runs(gain=0.1)
    one = _compare(first, second, target, patient)
    other = _compare(second, first, target, patient)
    assert one.p_value == other.p_value
    assert 0.02 < one.p_value < 1
    assert one.difference[:3] == pytest.approx(
        (-other.difference.value, -other.difference.high, -other.difference.low)
    )
    assert (one.first, one.second) == (other.second, other.first)


def test_pairing_makes_the_interval_narrower_than_those_of_the_runs() -> None:
    target, first, second, patient = _runs(gain=0.0)
    found = _compare(first, second, target, patient)
    width = found.difference.high - found.difference.low
    apart = [run.high - run.low for run in (found.first, found.second)]
    assert width < 0.8 * np.hypot(*apart)


def test_a_run_does_not_differ_from_itself() -> None:
    target, first, _, patient = _runs(gain=0.0)
    found = _compare(first, 3 * first + 1, target, patient)
    assert found.difference[:3] == (0.0, 0.0, 0.0)
    assert found.p_value == 1.0


def test_runs_without_a_difference_are_told_apart_in_about_one_of_twenty() -> None:
    found, by_delong = 0, 0
    for seed in range(200):
        target, first, second, patient = _runs(gain=0.0, seed=seed, patients=60)
        found += _compare(first, second, target, patient, resamples=200).p_value < 0.05
        by_delong += delong_difference(target, first, second, groups=patient).p_value < 0.05
    assert 0.02 <= found / 200 <= 0.09
    assert 0.02 <= by_delong / 200 <= 0.09


def test_the_p_value_and_the_interval_agree() -> None:
    rng = _rng(2)
    for _ in range(200):
        differences = rng.normal(rng.uniform(-3, 3), 1, 999)
        excluded = np.percentile(differences, 2.5) > 0 or np.percentile(differences, 97.5) < 0
        p_value = sign_p_value(differences)
        assert excluded == (p_value <= 0.05) or abs(p_value - 0.05) < 0.004


def test_the_p_value_by_hand() -> None:
    assert sign_p_value(np.array([-1.0, 1, 2, 3, 4, 5, 6, 7, 8])) == pytest.approx(2 * 2 / 10)
    assert sign_p_value(np.ones(99)) == pytest.approx(2 / 100)
    assert sign_p_value(np.array([1.0, np.nan, 1.0])) == pytest.approx(2 / 3)
    assert np.isnan(sign_p_value(np.array([np.nan])))


def test_several_statistics_are_compared_at_once() -> None:
    target, first, second, patient = _runs(gain=0.5)
    probabilities = [1 / (1 + np.exp(-score)) for score in (first, second)]
    makers = {"auroc": auroc, "brier": brier_score, "ece": expected_calibration_error}
    runs = [{n: make(target, p) for n, make in makers.items()} for p in probabilities]
    found = compare_runs(runs[0], runs[1], patient, resamples=200, rng=_rng(1))
    assert list(found) == list(makers)
    assert found["auroc"] == _compare(*probabilities, target, patient, resamples=200)
    alone = bootstrap_intervals(runs[0], patient, resamples=200, rng=_rng(1))
    assert {name: comparison.first for name, comparison in found.items()} == alone
