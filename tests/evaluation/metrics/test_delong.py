"""DeLong's variance is that of the definition, of published examples, and of the bootstrap."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from melanoma.evaluation.metrics.bootstrap import bootstrap_intervals, bootstrap_values
from melanoma.evaluation.metrics.delong import auroc_covariance, delong_difference, delong_interval
from melanoma.evaluation.metrics.ranking import auroc
from melanoma.types import Floats, Integers


def _scores(images: int = 90, *, seed: int = 0, levels: float = 3.0) -> tuple[Integers, Floats]:
    """Targets and two scores (2, N) of the same images, tied, the first one better."""
    rng = np.random.default_rng(seed)
    target = (rng.random(images) < 0.4).astype(np.int64)
    shared = rng.normal(size=images)
    scores = np.stack([shared + target, 0.7 * shared + rng.normal(size=images) + 0.6 * target])
    return target, np.round(scores * levels) / levels


def _by_definition(target: Integers, scores: Floats) -> Floats:
    """DeLong's covariance from every pair of a positive and a negative, O(mn)."""
    above, below = [], []
    for score in scores:
        ones, zeros = score[target == 1][:, None], score[target == 0][None, :]
        wins = (ones > zeros) + 0.5 * (ones == zeros)
        above.append(wins.mean(axis=1))
        below.append(wins.mean(axis=0))
    first, second = np.cov(above), np.cov(below)
    return np.atleast_2d(first / (target == 1).sum() + second / (target == 0).sum())


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("levels", [1.0, 3.0, 1e6])
def test_midranks_give_the_covariance_of_all_pairs(seed: int, levels: float) -> None:
    target, scores = _scores(seed=seed, levels=levels)
    areas, covariance = auroc_covariance(target, scores)
    assert areas == pytest.approx([roc_auc_score(target, score) for score in scores])
    assert covariance == pytest.approx(_by_definition(target, scores), rel=1e-10)


def test_hanley_and_mcneil_s_ratings_have_stata_s_standard_error() -> None:
    """109 CT images in five ratings (Radiology 143, 1982, table I).

    Stata's roctab on them (DeLong's variance): 0.8932, 0.0307, 0.83295 to 0.95339.
    """
    normal, abnormal = [33, 6, 6, 11, 2], [3, 2, 2, 11, 33]
    score = np.repeat(np.tile(np.arange(5.0), 2), normal + abnormal)
    target = np.repeat([0, 1], [58, 51])
    found = delong_interval(target, score)
    assert found.value == pytest.approx(0.8932, abs=5e-5)
    assert (found.high - found.value) / 1.959964 == pytest.approx(0.0307, abs=5e-5)
    assert (found.low, found.high) == pytest.approx((0.83295, 0.95339), abs=5e-6)


def test_groups_of_one_image_each_change_nothing() -> None:
    target, scores = _scores()
    alone = np.random.default_rng(0).permutation(len(target))
    assert delong_interval(target, scores[0], groups=alone) == pytest.approx(
        delong_interval(target, scores[0])
    )


def test_images_of_patients_repeated_whole_have_the_interval_of_the_patients() -> None:
    """Three copies of an image add nothing: by group the interval stays, else it narrows."""
    target, scores = _scores(150)
    copies = np.repeat(np.arange(150), 3)
    once = delong_interval(target, scores[0])
    grouped = delong_interval(target[copies], scores[0][copies], groups=copies)
    naive = delong_interval(target[copies], scores[0][copies])
    assert grouped == pytest.approx(once, abs=1e-9)
    assert naive.high - naive.low == pytest.approx((once.high - once.low) / 3**0.5, rel=0.02)


def test_the_analytic_interval_agrees_with_the_bootstrap_of_patients() -> None:
    rng = np.random.default_rng(4)
    patient = np.repeat(np.arange(200), 5)
    risk = rng.normal(size=200)[patient]
    target = (rng.random(1000) < 1 / (1 + np.exp(1 - risk))).astype(np.int64)
    score = 1.5 * rng.normal(size=200)[patient] + rng.normal(size=1000) + target
    statistic = {"auroc": auroc(target, score)}
    drawn = bootstrap_intervals(statistic, patient, resamples=2000, rng=rng)["auroc"]
    found = delong_interval(target, score, groups=patient)
    assert (found.low, found.high) == pytest.approx((drawn.low, drawn.high), abs=0.008)
    naive = delong_interval(target, score)
    assert naive.high - naive.low < 0.85 * (found.high - found.low)


def test_the_difference_has_the_standard_error_of_the_paired_bootstrap() -> None:
    target, scores = _scores(600, levels=1e6)
    found = delong_difference(target, scores[0], scores[1])
    assert found.value == pytest.approx(
        roc_auc_score(target, scores[0]) - roc_auc_score(target, scores[1])
    )
    both = {"a": auroc(target, scores[0]), "b": auroc(target, scores[1])}
    drawn = bootstrap_values(both, np.arange(600), resamples=2000, rng=np.random.default_rng(0))
    error = np.std(drawn["a"].values - drawn["b"].values)
    assert (found.high - found.low) / 2 / 1.959964 == pytest.approx(error, rel=0.08)


def test_the_difference_changes_its_sign_and_not_its_p_value_with_the_order() -> None:
    target, scores = _scores()
    one, other = (delong_difference(target, scores[a], scores[1 - a]) for a in (0, 1))
    assert (one.value, one.low, one.high) == pytest.approx((-other.value, -other.high, -other.low))
    assert one.p_value == pytest.approx(other.p_value)
    assert 0 < one.p_value < 1


def test_scores_of_one_ranking_do_not_differ() -> None:
    target, scores = _scores()
    found = delong_difference(target, scores[0], 2 * scores[0] - 7)
    assert found == (0.0, 0.0, 0.0, 1.0)


def test_a_class_of_one_image_or_of_one_patient_has_no_interval() -> None:
    target, score = np.array([1, 0, 0, 0]), np.array([0.9, 0.1, 0.95, 0.3])
    with np.errstate(all="raise"):
        found = delong_interval(target, score)
    assert found.value == pytest.approx(2 / 3)
    assert np.isnan([found.low, found.high]).all()
    target, groups = np.array([1, 1, 0, 0]), np.array([0, 0, 1, 2])
    assert np.isnan(delong_interval(target, score, groups=groups).low)
    assert np.isfinite(delong_interval(target, score, groups=np.arange(4)).low)
    with np.errstate(all="raise"):
        assert np.isnan(delong_interval(np.zeros(4, np.int64), score)[:3]).all()
