"""The bootstrap draws whole groups, and its interval covers what it should."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from melanoma.evaluation.metrics import bootstrap
from melanoma.evaluation.metrics.bootstrap import (
    Interval,
    Statistic,
    bootstrap_intervals,
    bootstrap_values,
)
from melanoma.evaluation.metrics.decisions import accuracy_at, sensitivity_at, specificity_at
from melanoma.evaluation.metrics.delong import delong_interval
from melanoma.evaluation.metrics.probability_scores import (
    brier_score,
    expected_calibration_error,
    log_loss,
)
from melanoma.evaluation.metrics.ranking import auroc, average_precision, partial_auroc
from melanoma.evaluation.report.schema_parts import Measured

pytestmark = pytest.mark.slow  # together they take many seconds


def _rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def interval_of(statistic: Statistic, groups: np.ndarray, **rules: Any) -> Interval:
    return bootstrap_intervals({"": statistic}, groups, **rules)[""]


def drawn_blocks(groups: np.ndarray, *, resamples: int) -> list[np.ndarray]:
    """The weights (b, N) that a statistic was asked about, but for the images themselves."""
    blocks: list[np.ndarray] = []

    def remember(weights: np.ndarray) -> np.ndarray:
        blocks.append(weights)
        return weights.sum(axis=1)

    bootstrap_values({"": remember}, groups, resamples=resamples, rng=_rng())
    return blocks[:-1]  # the last are all ones


def _mean(values: np.ndarray) -> bootstrap.Statistic:
    return lambda weights: weights @ values / weights.sum(axis=1)


@pytest.mark.parametrize("block", [1, 100, 4_000_000])
def test_a_resample_draws_as_many_groups_as_there_are_each_whole(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "_BLOCK", block)
    groups = np.array([2, 0, 1, 0, 2, 2, 3])
    weights = np.concatenate(drawn_blocks(groups, resamples=500))
    assert weights.shape == (500, 7)
    for group in range(4):
        columns = weights[:, groups == group]
        assert (columns == columns[:, :1]).all()
    firsts = [int(np.flatnonzero(groups == g)[0]) for g in range(4)]
    assert (weights[:, firsts].sum(axis=1) == 4).all()
    # With replacement: a group is left out in (3/4)^4 of the resamples.
    assert (weights == 0).mean() == pytest.approx((3 / 4) ** 4, abs=0.05)
    assert np.unique(weights).tolist() == [0, 1, 2, 3, 4]


def test_memory_is_bounded_by_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "_BLOCK", 1000)
    sizes = [weights.size for weights in drawn_blocks(np.arange(100), resamples=95)]
    assert max(sizes) <= 1000
    assert sum(sizes) == 9500


def test_the_interval_is_the_bootstrap_s_done_the_slow_way() -> None:
    rng = _rng(3)
    groups = rng.integers(0, 30, 150)
    groups = np.unique(groups, return_inverse=True)[1]
    target = (rng.random(150) < 0.3).astype(np.int64)
    score = rng.normal(size=150) + target
    found = interval_of(auroc(target, score), groups, resamples=2000, rng=_rng())
    slow = []
    for _ in range(500):
        drawn = rng.integers(0, groups.max() + 1, groups.max() + 1)
        rows = np.concatenate([np.flatnonzero(groups == g) for g in drawn])
        caught, spared = (score[rows][target[rows] == label] for label in (1, 0))
        slow.append((caught[:, None] > spared).mean())
    assert found.value == pytest.approx(roc_auc_score(target, score))
    low, high = np.percentile(slow, [2.5, 97.5])
    assert (found.low, found.high) == (
        pytest.approx(low, abs=0.02),
        pytest.approx(high, abs=0.02),
    )


def test_one_seed_gives_one_interval() -> None:
    values, groups = _rng().normal(size=60), np.repeat(np.arange(20), 3)
    found = [
        interval_of(_mean(values), groups, resamples=200, rng=_rng(seed)) for seed in (1, 1, 2)
    ]
    assert found[0] == found[1] != found[2]


def test_intervals_of_patients_cover_and_those_of_images_are_too_narrow() -> None:
    """The true mean is 0; images of one patient share most of their deviation."""
    rng = _rng(7)
    patients = np.repeat(np.arange(80), 4)
    covered = {"patients": 0, "images": 0}
    for _ in range(400):
        values = rng.normal(0, 1, 80)[patients] + rng.normal(0, 0.5, 320)
        for name, groups in (("patients", patients), ("images", np.arange(320))):
            found = interval_of(_mean(values), groups, resamples=300, rng=rng)
            covered[name] += found.low <= 0 <= found.high
    assert 0.925 <= covered["patients"] / 400 <= 0.975
    assert covered["images"] / 400 < 0.75


def test_resamples_of_one_class_are_left_out() -> None:
    target, score = np.array([1, 0, 0, 0]), np.array([0.9, 0.1, 0.2, 0.3])
    found = interval_of(auroc(target, score), np.arange(4), resamples=200, rng=_rng())
    assert found[:3] == (1.0, 1.0, 1.0)
    # The one positive is in no resample, or alone in it: (3/4)^4 + (1/4)^4 = 0.32 of 200.
    assert 40 < found.undefined < 90


def test_an_interval_that_no_resample_defines_is_nan_beside_its_value() -> None:
    target, score = np.array([1, 0]), np.array([0.9, 0.1])
    # No resample of these weights holds a negative.
    statistic = auroc(target, score)
    found = interval_of(
        lambda w: statistic(w) if len(w) == 1 else statistic(w * [1, 0]),
        np.array([0, 0]),
        resamples=100,
        rng=_rng(),
    )
    assert found.value == 1.0
    assert np.isnan([found.low, found.high]).all()
    assert found.undefined == 100


def test_an_interval_is_written_as_value_low_and_high() -> None:
    assert Interval(0.5, 0.4, 0.6).measured() == Measured(value=0.5, low=0.4, high=0.6)


def _clustered(
    patients: int = 60, each: int = 5, *, seed: int = 0, spread: float = 1.0
) -> tuple[bootstrap.Integers, bootstrap.Floats, bootstrap.Integers]:
    """Targets, scores and patients; a patient's images share part of their score and risk."""
    rng = _rng(seed)
    patient = np.repeat(np.arange(patients), each)
    risk = rng.normal(0, spread, patients)[patient]
    target = (rng.random(len(patient)) < 1 / (1 + np.exp(1 - risk))).astype(np.int64)
    score = rng.normal(0, spread, patients)[patient] + rng.normal(size=len(patient)) + target
    return target, score, patient


def test_every_statistic_is_measured_on_the_same_resamples() -> None:
    target, score, patient = _clustered()
    mirrored = {"auroc": auroc(target, score), "reversed": auroc(target, -score)}
    found = bootstrap_values(mirrored, patient, resamples=300, rng=_rng())
    assert found["auroc"].values + found["reversed"].values == pytest.approx(np.ones(300))
    alone = bootstrap_intervals({"auroc": auroc(target, score)}, patient, resamples=300, rng=_rng())
    together = bootstrap_intervals(mirrored, patient, resamples=300, rng=_rng())
    assert together["auroc"] == alone["auroc"]


@pytest.mark.parametrize("alone", [True, False])
def test_sums_within_groups_give_what_weights_of_images_give(alone: bool) -> None:
    """Once by the sparse product over groups, once by a plain function of image weights."""
    target, score, patient = _clustered()
    groups = np.arange(len(patient)) if alone else _rng().permutation(60)[patient]
    probability = 1 / (1 + np.exp(-score))
    summed: dict[str, Statistic] = {
        make.__name__: make(target, probability)
        for make in (auroc, average_precision, brier_score, log_loss)
    }
    for make in (sensitivity_at, specificity_at, accuracy_at):
        summed |= {f"{make.__name__} {t}": make(t, target, probability) for t in (0.3, 0.7)}
    plain = {name: partial(statistic.__call__) for name, statistic in summed.items()}
    found = bootstrap_values(summed, groups, resamples=100, rng=_rng(1))
    expected = bootstrap_values(plain, groups, resamples=100, rng=_rng(1))
    for name in summed:
        assert found[name].values == pytest.approx(expected[name].values, abs=1e-12)
        assert found[name].value == expected[name].value


@pytest.mark.parametrize("block", [1, 10_000])
def test_the_size_of_the_blocks_changes_nothing(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, score, patient = _clustered()
    expected = interval_of(auroc(target, score), patient, resamples=150, rng=_rng())
    monkeypatch.setattr(bootstrap, "_BLOCK", block)
    found = interval_of(auroc(target, score), patient, resamples=150, rng=_rng())
    assert found == expected


def test_the_calibration_error_s_interval_holds_its_value_though_resampling_raises_it() -> None:
    rng = _rng(5)
    probability = rng.random(600) * 0.6
    target = (rng.random(600) < probability).astype(np.int64)
    error = {"ece": expected_calibration_error(target, probability)}
    drawn = bootstrap_values(error, np.arange(600), resamples=500, rng=_rng())["ece"]
    found = bootstrap_intervals(error, np.arange(600), resamples=500, rng=_rng())["ece"]
    assert drawn.values.mean() > 1.2 * drawn.value
    assert 0 <= found.low <= found.value <= found.high
    spread = np.percentile(drawn.values, [2.5, 97.5])
    assert found.high - found.value == pytest.approx(spread[1] - drawn.values.mean())


def test_the_calibration_error_s_interval_ends_at_0() -> None:
    error = expected_calibration_error(np.tile([0, 1], 20), np.full(40, 0.5))
    found = interval_of(error, np.arange(40), resamples=500, rng=_rng())
    assert (found.value, found.low) == (0, 0)
    assert 0 < found.high < 0.2


def test_the_interval_of_the_auroc_covers_with_patients_and_is_too_narrow_with_images() -> None:
    """The truth is the AUROC of 480,000 images of other patients of the same kind.

    Of 400 simulations the intervals of patients covered 93 %, those of images 78 %.
    """
    kind: dict[str, Any] = {"each": 8, "spread": 1.5}
    truth = float(roc_auc_score(*_clustered(60_000, seed=99, **kind)[:2]))
    covered = {"patients": 0, "images": 0, "delong": 0}
    for seed in range(200):
        target, score, patient = _clustered(80, seed=seed, **kind)
        for name, groups in (("patients", patient), ("images", np.arange(len(patient)))):
            found = interval_of(auroc(target, score), groups, resamples=300, rng=_rng(seed))
            covered[name] += found.low <= truth <= found.high
        analytic = delong_interval(target, score, groups=patient)
        covered["delong"] += analytic.low <= truth <= analytic.high
    assert 0.91 <= covered["patients"] / 200 <= 0.98
    assert 0.91 <= covered["delong"] / 200 <= 0.98
    assert covered["images"] / 200 < 0.82


def test_a_report_s_metrics_with_two_hundred_resamples_of_siim_s_size_take_no_two_seconds() -> None:
    """benchmarks/bootstrap.py measures the whole set with 2,000."""
    rng = _rng()
    groups = np.unique(rng.integers(0, 2056, 33_126), return_inverse=True)[1]
    target = (rng.random(33_126) < 0.0176).astype(np.int64)
    score = 1 / (1 + np.exp(-rng.normal(size=33_126) - target))
    statistics: dict[str, Statistic] = {
        "auroc": auroc(target, score),
        "pr_auc": average_precision(target, score),
        "pauc": partial_auroc(0.8, target, score),
        "brier": brier_score(target, score),
        "ece": expected_calibration_error(target, score),
    }
    for threshold in (0.1, 0.2, 0.5):
        statistics[f"sensitivity {threshold}"] = sensitivity_at(threshold, target, score)
        statistics[f"specificity {threshold}"] = specificity_at(threshold, target, score)
    start = time.process_time()
    bootstrap_intervals(statistics, groups, resamples=200, rng=rng)
    assert time.process_time() - start < 2
