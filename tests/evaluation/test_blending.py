"""Blends: weights by likelihood, stacking, and that no image's label is in its own score."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import expit, softmax
from sklearn.metrics import log_loss

from melanoma.errors import DataError
from melanoma.evaluation.blending import BLENDS, blend_nested, equal_mean, fit_weights


def models(images: int = 600, classes: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three models' probabilities of one truth: a good one, a poor one, and one of chance."""
    rng = np.random.default_rng(0)
    target = rng.integers(0, classes, images)
    truth = 2.0 * np.eye(classes)[target]
    found = [
        softmax(truth * skill + rng.normal(size=(images, classes)), axis=1)
        for skill in (1.2, 0.4, 0.0)
    ]
    return np.stack(found), target, rng.integers(0, 5, images)


@pytest.mark.parametrize("classes", [2, 4])
def test_fitted_weights_are_the_likeliest_of_all_and_sum_to_one(classes: int) -> None:
    probabilities, target, _ = models(classes=classes)
    blend = fit_weights(probabilities, target)
    assert sum(blend.weights) == pytest.approx(1) and min(blend.weights) >= 0
    best = log_loss(target, blend(probabilities))
    rng = np.random.default_rng(1)
    for weights in rng.dirichlet(np.ones(3), 200):
        other = log_loss(target, np.tensordot(weights, probabilities, axes=1))
        assert best <= other + 1e-6
    assert blend.weights[0] > max(blend.weights[1:])
    mean = equal_mean(probabilities, target)(probabilities)
    assert np.allclose(mean, probabilities.mean(axis=0))


def test_the_weights_reach_the_top_where_it_is_flat() -> None:
    """A hundred images and two models alike: there expectation-maximization alone gives up."""
    rng = np.random.default_rng(2)
    target = (rng.random(100) < 0.15).astype(int)
    odds = -1.7 + rng.normal(0, 0.3, (2, 100)) + 0.15 * np.array([[0], [1]]) * target
    both = np.stack([1 - expit(odds), expit(odds)], axis=2)
    likely = both[:, np.arange(100), target]
    ends = minimize_scalar(
        lambda w: -np.log(w * likely[0] + (1 - w) * likely[1]).mean(),
        bounds=(0, 1),
        method="bounded",
        options={"xatol": 1e-9},
    )
    assert fit_weights(both, target).weights[0] == pytest.approx(ends.x, abs=1e-3)


@pytest.mark.parametrize("method", BLENDS)
@pytest.mark.parametrize("classes", [2, 3])
def test_an_image_s_own_label_has_no_part_in_its_nested_score(method: str, classes: int) -> None:
    probabilities, target, folds = models(classes=classes)
    before, fitted = blend_nested(BLENDS[method], probabilities, target, folds)
    assert set(fitted) == set(range(5))
    assert method == "ranks" or before.sum(axis=1) == pytest.approx(1)
    changed = target.copy()
    changed[folds == 2] = (changed[folds == 2] + 1) % classes
    after, _ = blend_nested(BLENDS[method], probabilities, changed, folds)
    assert np.array_equal(after[folds == 2], before[folds == 2])
    if method not in ("equal", "ranks"):
        assert not np.array_equal(after[folds == 1], before[folds == 1])


def test_stacking_of_over_confident_models_is_better_calibrated_than_their_mean() -> None:
    rng = np.random.default_rng(3)
    target = rng.integers(0, 2, 1500)
    odds = [4 * (target - 0.5) + 4 * rng.normal(size=1500) for _ in range(2)]
    sure = np.stack([np.stack([1 - expit(3 * o), expit(3 * o)], axis=1) for o in odds])
    folds = rng.integers(0, 5, 1500)
    stacked, _ = blend_nested(BLENDS["stacking"], sure, target, folds)
    assert log_loss(target, stacked) < log_loss(target, sure.mean(axis=0))


def test_one_fold_or_an_absent_class_is_refused() -> None:
    probabilities, target, folds = models()
    with pytest.raises(DataError, match="there is one fold"):
        blend_nested(fit_weights, probabilities, target, np.zeros_like(folds))
    with pytest.raises(DataError, match="a class has no image"):
        blend_nested(fit_weights, probabilities, (folds == 1).astype(int), folds)


def test_mean_ranks_are_the_same_whatever_the_scale_of_a_model() -> None:
    probabilities, target, _ = models()
    ranks = BLENDS["ranks"](probabilities, target)
    bent = np.stack([probabilities[0] ** 9, *probabilities[1:]])
    assert np.array_equal(ranks(probabilities), ranks(bent))
    alone = ranks(probabilities[:1])[:, 1]
    assert np.allclose(alone[np.argsort(probabilities[0, :, 1])] * 600, np.arange(1, 601))
