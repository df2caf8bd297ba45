"""Prediction sets: their finite-sample rule against counting, lesions against images, the
prevalence that moves nothing, and what the report says of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax

from melanoma.evaluation.measure.operating_points import Threshold
from melanoma.evaluation.measure.prediction_sets import (
    SetRule,
    _by_group,
    crossfit_sets,
    fit_sets,
    measure_sets,
    spans_risks,
)
from melanoma.evaluation.scored_images import ScoredImages

CLASSES = ("bcc", "melanoma", "nevus", "keratosis")
RISK: dict[str, Any] = dict(
    zip(CLASSES, ("malignant", "malignant", "benign", "premalignant"), strict=True)
)


def _images(target: Any, probabilities: Any, groups: Any = None) -> ScoredImages:
    count = len(target)
    table = pd.DataFrame(
        {
            "image_name": [f"i{n}" for n in range(count)],
            "group": [f"g{n}" for n in (range(count) if groups is None else groups)],
            "target": target,
            "fold": np.arange(count) % 2,
        }
    )
    priors = tuple((np.bincount(target, minlength=4) / count).tolist())
    return ScoredImages(table, CLASSES, ("melanoma",), probabilities, probabilities, priors, RISK)


def _drawn(count: int = 600, seed: int = 3) -> ScoredImages:
    rng = np.random.default_rng(seed)
    target = rng.choice(4, size=count, p=[0.15, 0.2, 0.5, 0.15])
    logits = rng.normal(size=(count, 4)) + 1.5 * np.eye(4)[target]
    return _images(target, softmax(logits, axis=1))


def _of_nevi(scores: list[float], groups: list[int] | None = None) -> ScoredImages:
    values = np.array(scores)
    by_class = np.stack([(1 - values) / 3, (1 - values) / 3, values, (1 - values) / 3], axis=1)
    return _images(np.full(len(scores), 2), by_class, groups)


@pytest.mark.parametrize(
    ("lesions", "expected"),
    [(8, 0.0), (9, 0.51), (10, 0.51), (18, 0.51), (19, 0.52), (29, 0.53)],
    ids=str,
)
def test_a_class_s_value_is_the_finite_sample_quantile(lesions: int, expected: float) -> None:
    """At 90 % all but floor((n + 1) / 10) - 1 of n reach it; of fewer than nine none is enough."""
    rule = fit_sets(_of_nevi([0.51 + n / 100 for n in range(lesions)]), 0.9)
    assert rule.thresholds[2] == pytest.approx(expected)


def test_many_images_of_one_lesion_count_as_one() -> None:
    once = [0.9 - n / 100 for n in range(19)]
    hard = [0.2] * 40
    lesions = list(range(19))
    assert fit_sets(_of_nevi(once, lesions), 0.9).thresholds[2] == pytest.approx(0.73)
    both = fit_sets(_of_nevi([*once, *hard], [*lesions, *[19] * 40]), 0.9)
    assert both.thresholds[2] == pytest.approx(0.72)  # 18.9 of 21 lesions
    apart = fit_sets(_of_nevi([*once, *hard]), 0.9)
    assert apart.thresholds[2] == pytest.approx(0.2)


def test_every_class_is_covered_at_the_level_in_new_images() -> None:
    rule, new = fit_sets(_drawn(), 0.9), _drawn(4000, seed=8)
    inside = rule.of(new.by_class)
    covered = inside[np.arange(len(new)), new.target]
    for number in range(4):
        assert covered[new.target == number].mean() == pytest.approx(0.9, abs=0.06)
    assert 1 < inside.sum(axis=1).mean() < 3


def test_the_likeliest_class_is_in_every_set() -> None:
    rule = SetRule(0.5, (0.9, 0.25, 0.9, 0.9), (0.25, 0.25, 0.25, 0.25))
    scores = np.array([[0.1, 0.2, 0.4, 0.3], [0.0, 0.0, 0.02, 0.98], [0.0, 0.3, 0.0, 0.7]])
    inside = rule.of(scores)
    # None reaches its own; one does; and one does that is not the likeliest.
    assert inside.astype(int).tolist() == [[0, 0, 1, 0], [0, 0, 0, 1], [0, 1, 0, 1]]


def test_a_set_spans_risks_where_it_holds_a_cancer_and_a_harmless_class() -> None:
    inside = np.array([[1, 1, 0, 1], [0, 0, 1, 0], [0, 0, 1, 1], [0, 1, 1, 0]], dtype=bool)
    assert spans_risks(inside, CLASSES, ("melanoma",), RISK).tolist() == [False, False, True, True]
    # Without risks, melanoma is the cancer.
    alone = spans_risks(inside, CLASSES, ("melanoma",), {})
    assert alone.tolist() == [True, False, False, True]


def test_the_report_counts_cross_fitted_sets() -> None:
    images, points = _drawn(), [Threshold(0.35, "sensitivity 0.95")]
    found = measure_sets(images, points, None, level=0.9, resamples=20, seed=0)
    rule = fit_sets(images, 0.9)
    assert (found.level, found.thresholds, found.priors) == (0.9, rule.thresholds, images.priors)
    inside = crossfit_sets(images, 0.9)
    folds = images.table["fold"].to_numpy()
    for fold in (0, 1):  # by the other fold's values alone
        other = fit_sets(images, 0.9, folds != fold)
        expected = other.of(images.by_class[folds == fold])
        assert np.array_equal(inside[folds == fold], expected)
    covered = inside[np.arange(len(images)), images.target]
    unsure = spans_risks(inside, CLASSES, ("melanoma",), RISK) & (images.probability < 0.35)
    assert found.overall.coverage.value == pytest.approx(covered.mean())
    assert found.overall.mean_size == pytest.approx(inside.sum(axis=1).mean())
    assert [line.name for line in found.by_class] == [*CLASSES]
    assert 0 < found.overall.unsure == sum(line.unsure for line in found.by_class)
    for number, line in enumerate(found.by_class):
        own = images.target == number
        assert line.coverage.value == pytest.approx(covered[own].mean())
        assert (line.images, line.unsure) == (own.sum(), (own & unsure).sum())


def test_where_all_are_covered_no_rounding_makes_more_than_all_of_it() -> None:
    rng = np.random.default_rng(0)
    for images in range(20, 60):
        groups, all_ = rng.integers(0, 12, images), np.ones(images, bool)
        assert 1 - 1e-9 < (_by_group(np.ones(images), groups, all_) or 0) <= 1
