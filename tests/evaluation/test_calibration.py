"""Logits become probabilities that mean what they say, and keep their order."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import expit, logit
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from melanoma.evaluation.calibration import (
    Calibration,
    crossfit_probabilities,
    fit_calibration,
    prior_shift,
)
from melanoma.evaluation.intervals import Floats, Integers
from melanoma.models.losses import binary_cross_entropy


def _logits(
    images: int = 3000, *, slope: float = 1.0, intercept: float = -2.0, seed: int = 0
) -> tuple[Floats, Integers]:
    """Logits whose truth is sigmoid(slope * logit + intercept)."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, images)
    target = (rng.random(images) < expit(slope * logits + intercept)).astype(np.int64)
    return logits, target


@pytest.mark.parametrize(("slope", "intercept"), [(1.0, 0.0), (0.4, -2.0), (2.5, -1.0), (1.0, -3)])
def test_a_known_scaling_is_found_again(slope: float, intercept: float) -> None:
    logits, target = _logits(60_000, slope=slope, intercept=intercept)
    found = fit_calibration(logits, target)
    assert found.slope == pytest.approx(slope, rel=0.05)
    assert found.intercept == pytest.approx(intercept, abs=0.06)
    assert found.prevalence == target.mean()


def test_the_scaling_is_scikit_learn_s_maximum_likelihood() -> None:
    logits, target = _logits()
    theirs = LogisticRegression(C=np.inf, tol=1e-8).fit(logits[:, None], target)
    ours = fit_calibration(logits, target)
    # Platt's targets differ from 0 and 1 by less than a hundredth here.
    assert ours.slope == pytest.approx(theirs.coef_[0, 0], rel=0.01)
    assert ours.intercept == pytest.approx(theirs.intercept_[0], rel=0.01)
    assert np.allclose(
        ours.probabilities(logits), theirs.predict_proba(logits[:, None])[:, 1], atol=0.005
    )


@pytest.mark.parametrize("images", [40, 400])
def test_the_probabilities_are_scikit_learn_s_platt_scaling(images: int) -> None:
    logits, target = _logits(images, slope=0.7, intercept=-1.0)
    raw = LogisticRegression().fit(logits[:, None], target)
    raw.coef_, raw.intercept_ = np.ones((1, 1)), np.zeros(1)
    theirs = CalibratedClassifierCV(FrozenEstimator(raw), method="sigmoid").fit(
        logits[:, None], target
    )
    expected = theirs.predict_proba(logits[:, None])[:, 1]
    assert np.allclose(fit_calibration(logits, target).probabilities(logits), expected, atol=1e-4)


def test_calibrated_probabilities_have_the_prevalence_as_their_mean() -> None:
    logits, target = _logits(5000, slope=0.3, intercept=-3.0)
    calibration = fit_calibration(logits, target)
    assert calibration.probabilities(logits).mean() == pytest.approx(target.mean(), rel=0.01)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("direction", [1, -1])
def test_the_ranking_is_kept_even_of_scores_that_are_worse_than_chance(
    scale: float, direction: int
) -> None:
    logits, target = _logits(400)
    logits *= scale * direction
    probability = fit_calibration(logits, target).probabilities(logits)
    assert len(np.unique(probability)) == len(np.unique(logits))
    assert (np.argsort(probability) == np.argsort(logits)).all()
    assert roc_auc_score(target, probability) == roc_auc_score(target, logits)
    assert (probability > 0).all()
    assert (probability < 1).all()


def test_scores_without_any_spread_get_the_prevalence() -> None:
    target = np.repeat([0, 1], [90, 10])
    probability = fit_calibration(np.full(100, 3.0), target).probabilities(np.full(100, 3.0))
    # Platt's targets: (11/12 x 10 + 1/92 x 90) / 100.
    assert probability == pytest.approx(np.full(100, (11 / 12 * 10 + 90 / 92) / 100), abs=1e-4)


def test_separable_classes_keep_a_finite_slope() -> None:
    logits, target = np.array([-2.0, -1.0, 1.0, 2.0]), np.array([0, 0, 1, 1])
    calibration = fit_calibration(logits, target)
    assert calibration.slope < 10
    # Platt's targets of two and two are 1/4 and 3/4.
    assert calibration.probabilities(logits)[[0, -1]] == pytest.approx([0.25, 0.75], abs=0.12)


@pytest.mark.parametrize("weight", [3.0, 19.0])
def test_the_prior_that_a_weighted_loss_adds_is_taken_out_again(weight: float) -> None:
    """A logistic regression trained on one in twenty, each positive counted `weight` times."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(20_000, 2))
    target = (rng.random(20_000) < expit(x @ [1.0, -0.5] - 3.4)).astype(np.int64)
    layer = torch.nn.Linear(2, 1, dtype=torch.float64)
    inputs, wanted = torch.from_numpy(x), torch.from_numpy(target)
    optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=60, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = binary_cross_entropy(
            layer(inputs), wanted, positive_weight=weight, label_smoothing=0.0
        )
        loss.backward()
        return loss

    optimizer.step(closure)
    raw = layer(inputs).detach().numpy()[:, 0]
    shift = prior_shift(positive_weight=weight, sampled_share=None, training_share=0.05)
    assert shift == pytest.approx(np.log(weight))
    assert expit(raw).mean() > 2 * target.mean()
    assert expit(raw - shift).mean() == pytest.approx(target.mean(), rel=0.04)
    calibration = fit_calibration(raw - shift, target)
    assert calibration.slope == pytest.approx(1, abs=0.05)
    assert calibration.intercept == pytest.approx(0, abs=0.12)


def test_a_sampler_shifts_by_the_ratio_of_the_odds() -> None:
    shift = prior_shift(positive_weight=1.0, sampled_share=0.5, training_share=0.02)
    assert shift == pytest.approx(np.log(0.98 / 0.02))
    both = prior_shift(positive_weight=4.0, sampled_share=0.25, training_share=0.1)
    assert both == pytest.approx(np.log(4) + logit(0.25) - logit(0.1))
    # A share of one half in training, shown as one half, is no shift at all.
    assert prior_shift(positive_weight=1.0, sampled_share=0.5, training_share=0.5) == 0.0


def test_a_fold_s_probabilities_never_see_its_own_labels() -> None:
    logits, target = _logits(600)
    folds = np.random.default_rng(0).integers(0, 3, 600)
    before = crossfit_probabilities(logits, target, folds)
    for fold in range(3):
        own = folds == fold
        changed = np.where(own, 1 - target, target)
        after = crossfit_probabilities(logits, changed, folds)
        assert (after[own] == before[own]).all()
        assert (after[~own] != before[~own]).all()
        others = fit_calibration(logits[~own], target[~own])
        assert (before[own] == others.probabilities(logits[own])).all()


def test_a_calibration_is_a_sigmoid_of_a_line() -> None:
    probability = Calibration(2.0, -1.0, 0.1).probabilities(np.array([0.0, 0.5, 3.0]))
    assert probability == pytest.approx([1 / (1 + np.e), 0.5, 1 / (1 + np.exp(-5))])
