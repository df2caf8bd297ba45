"""Logits become probabilities that mean what they say, and keep their order."""

from __future__ import annotations

import json
import time
from dataclasses import asdict

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import expit, log_softmax, logit, softmax
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from melanoma.errors import DataError
from melanoma.evaluation.calibration import (
    Calibration,
    choose_method,
    crossfit_probabilities,
    fit_calibration,
    prior_shift,
)
from melanoma.models.losses import binary_cross_entropy
from melanoma.types import Floats, Integers


def _logits(
    images: int = 3000, *, slope: float = 1.0, intercept: float = -2.0, seed: int = 0
) -> tuple[Floats, Integers]:
    """(N, 1) logits whose truth is sigmoid(slope * logit + intercept)."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (images, 1))
    target = (rng.random(images) < expit(slope * logits[:, 0] + intercept)).astype(np.int64)
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
    theirs = LogisticRegression(C=np.inf, tol=1e-8).fit(logits, target)
    ours = fit_calibration(logits, target)
    # Platt's targets differ from 0 and 1 by less than a hundredth here.
    assert ours.slope == pytest.approx(theirs.coef_[0, 0], rel=0.01)
    assert ours.intercept == pytest.approx(theirs.intercept_[0], rel=0.01)
    assert np.allclose(ours.probabilities(logits), theirs.predict_proba(logits), atol=0.005)


@pytest.mark.parametrize("images", [40, 400])
def test_the_probabilities_are_scikit_learn_s_platt_scaling(images: int) -> None:
    logits, target = _logits(images, slope=0.7, intercept=-1.0)
    raw = LogisticRegression().fit(logits, target)
    raw.coef_, raw.intercept_ = np.ones((1, 1)), np.zeros(1)
    theirs = CalibratedClassifierCV(FrozenEstimator(raw), method="sigmoid").fit(logits, target)
    expected = theirs.predict_proba(logits)
    assert np.allclose(fit_calibration(logits, target).probabilities(logits), expected, atol=1e-4)


def test_calibrated_probabilities_have_the_prevalence_as_their_mean() -> None:
    logits, target = _logits(5000, slope=0.3, intercept=-3.0)
    calibration = fit_calibration(logits, target)
    _, melanoma = calibration.probabilities(logits).mean(axis=0)
    assert melanoma == pytest.approx(target.mean(), rel=0.01)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("direction", [1, -1])
def test_the_ranking_is_kept_even_of_scores_that_are_worse_than_chance(
    scale: float, direction: int
) -> None:
    logits, target = _logits(400)
    logits *= scale * direction
    probability = fit_calibration(logits, target).probabilities(logits)[:, 1]
    assert len(np.unique(probability)) == len(np.unique(logits))
    assert (np.argsort(probability) == np.argsort(logits[:, 0])).all()
    assert roc_auc_score(target, probability) == roc_auc_score(target, logits)
    assert (probability > 0).all()
    assert (probability < 1).all()


def test_scores_without_any_spread_get_the_prevalence() -> None:
    target = np.repeat([0, 1], [90, 10])
    logits = np.full((100, 1), 3.0)
    probability = fit_calibration(logits, target).probabilities(logits)[:, 1]
    # Platt's targets: (11/12 x 10 + 1/92 x 90) / 100.
    assert probability == pytest.approx(np.full(100, (11 / 12 * 10 + 90 / 92) / 100), abs=1e-4)


def test_separable_classes_keep_a_finite_slope() -> None:
    logits, target = np.array([[-2.0], [-1.0], [1.0], [2.0]]), np.array([0, 0, 1, 1])
    calibration = fit_calibration(logits, target)
    assert calibration.slope < 10
    # Platt's targets of two and two are 1/4 and 3/4.
    assert calibration.probabilities(logits)[[0, -1], 1] == pytest.approx([0.25, 0.75], abs=0.12)


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
    probability = Calibration(2.0, -1.0, 0.1).probabilities(np.array([[0.0], [0.5], [3.0]]))
    assert probability[:, 1] == pytest.approx([1 / (1 + np.e), 0.5, 1 / (1 + np.exp(-5))])
    assert (probability[:, 0] == 1 - probability[:, 1]).all()


INTERCEPTS = np.array([2.0, 0.5, 0.0, -1.0, -1.5])


def _class_logits(
    images: int = 4000, *, slope: float = 0.6, seed: int = 0
) -> tuple[Floats, Integers]:
    """(N, 5) logits whose truth is softmax(slope * logits + INTERCEPTS)."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(images, 5))
    sums = softmax(slope * logits + INTERCEPTS, axis=1).cumsum(axis=1)
    return logits, (sums > rng.random((images, 1))).argmax(axis=1)


@pytest.mark.parametrize("slope", [0.4, 1.0, 2.5])
def test_a_known_scaling_of_many_classes_is_found_again(slope: float) -> None:
    logits, target = _class_logits(40_000, slope=slope)
    found = fit_calibration(logits, target, melanoma=[1, 3])
    assert found.slope == pytest.approx(slope, rel=0.03)
    assert np.array(found.intercept) == pytest.approx(INTERCEPTS - INTERCEPTS.mean(), abs=0.12)
    assert found.prevalence == pytest.approx(np.isin(target, [1, 3]).mean())
    assert found.class_prevalence == pytest.approx(np.bincount(target) / len(target))


def test_one_s_own_search_without_smoothing_ends_at_the_same_probabilities() -> None:
    logits, target = _class_logits()

    def loss(parameters: Floats) -> float:
        scaled = parameters[0] * logits + np.concatenate([[0.0], parameters[1:]])
        return -float(log_softmax(scaled, axis=1)[np.arange(len(target)), target].mean())

    best = minimize(loss, np.array([1.0, 0, 0, 0, 0]), method="BFGS")
    expected = softmax(best.x[0] * logits + np.concatenate([[0.0], best.x[1:]]), axis=1)
    found = fit_calibration(logits, target).probabilities(logits)
    # Smoothed targets differ from 0 and 1 by less than a hundredth here.
    assert np.abs(found - expected).max() < 0.01


@pytest.mark.parametrize("scale", [0.3, 5.0])
def test_a_temperature_is_scikit_learn_s(scale: float) -> None:
    logits, target = _class_logits(3000, slope=1.0)
    logits = (logits + INTERCEPTS) * scale

    raw = LogisticRegression().fit(logits, target)
    # A linear model that hands its inputs on as they are.
    raw.coef_, raw.intercept_ = np.eye(5), np.zeros(5)
    theirs = CalibratedClassifierCV(FrozenEstimator(raw), method="temperature").fit(logits, target)
    ours = fit_calibration(logits, target, method="temperature")
    assert ours.intercept == (0.0,) * 5
    assert ours.slope == pytest.approx(1 / scale, rel=0.06)
    expected = theirs.predict_proba(logits)
    assert np.allclose(ours.probabilities(logits), expected, atol=0.004)


def test_a_temperature_never_changes_what_is_likeliest() -> None:
    logits, target = _class_logits()
    for direction in (1, -1):
        found = fit_calibration(direction * logits, target, method="temperature")
        assert found.slope > 0
        probability = found.probabilities(direction * logits)
        assert (probability.argmax(axis=1) == (direction * logits).argmax(axis=1)).all()


def test_two_classes_are_scaled_as_one_logit_is() -> None:
    logits, target = _logits(800)
    pair = np.concatenate([np.zeros((800, 1)), logits], axis=1)
    for method in ("scale", "temperature"):
        one = fit_calibration(logits, target, method=method)
        two = fit_calibration(pair + 3.0, target, method=method, melanoma=[1])
        assert two.slope == pytest.approx(one.slope, rel=1e-5)
        assert two.probabilities(pair) == pytest.approx(one.probabilities(logits), abs=1e-6)
        assert two.prevalence == one.prevalence
        assert two.class_prevalence == one.class_prevalence
    assert fit_calibration(logits, target, method="temperature").intercept == 0


def test_many_classes_calibrated_have_their_prevalences_as_means() -> None:
    logits, target = _class_logits(6000)
    means = fit_calibration(3 * logits - 1, target).probabilities(3 * logits - 1).mean(axis=0)
    shares = np.bincount(target) / len(target)
    assert means == pytest.approx(shares, abs=2 / 6000)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_the_order_of_two_images_within_two_classes_is_kept(scale: float) -> None:
    """One slope for all: log-odds of any two classes stay a growing function of their logits."""
    logits, target = _class_logits(500)
    for direction in (1, -1):
        values = scale * direction * logits
        found = fit_calibration(values, target)
        assert found.slope > 0
        probability = found.probabilities(values)
        assert np.isfinite(probability).all()
        order = np.argsort(values[:, 1] - values[:, 0])
        odds = np.log(probability[order, 1]) - np.log(probability[order, 0])
        assert (np.diff(odds) > -1e-9).all()
        assert len(np.unique(odds)) == 500


@pytest.mark.parametrize("method", ["scale", "temperature"])
def test_separable_rare_and_absent_classes_stay_finite(method: str) -> None:
    target = np.array([0] * 40 + [1] * 9 + [2])
    logits = 10.0 * np.eye(4)[target]
    found = fit_calibration(logits, target, method=method, melanoma=[2])
    probability = found.probabilities(logits)
    assert 0 < found.slope < 10
    assert np.isfinite(probability).all()
    assert (probability.argmax(axis=1) == target).all()
    assert (probability > 0).all()
    assert found.class_prevalence == (0.8, 0.18, 0.02, 0.0)
    # No image of the last class says that it is rare, not that it cannot be.
    if method == "scale":
        assert 1e-4 < probability[:, 3].max() < 0.03
    # One image of a class is no proof: Platt's target for it is 2/3.
    if method == "scale":
        assert probability[-1, 2] == pytest.approx(2 / 3, abs=0.1)


def test_a_fold_s_probabilities_of_many_classes_never_see_its_own_labels() -> None:
    logits, target = _class_logits(600)
    folds = np.random.default_rng(0).integers(0, 3, 600)
    before = crossfit_probabilities(logits, target, folds)
    assert before.shape == (600, 5)
    own = folds == 1
    after = crossfit_probabilities(logits, np.where(own, (target + 1) % 5, target), folds)
    assert (after[own] == before[own]).all()
    assert (after[~own] != before[~own]).any(axis=1).all()


def test_a_temperature_is_cross_fitted_too() -> None:
    logits, target = _class_logits(600)
    folds = np.random.default_rng(0).integers(0, 3, 600)
    found = crossfit_probabilities(logits, target, folds, method="temperature")
    own = folds == 2
    others = fit_calibration(logits[~own], target[~own], method="temperature")
    assert (found[own] == others.probabilities(logits[own])).all()


def test_what_is_added_to_all_of_an_image_s_logits_changes_nothing() -> None:
    logits, target = _class_logits(1000)
    moved = logits + 1e8 * np.random.default_rng(0).normal(size=(1000, 1))
    for method in ("scale", "temperature"):
        expected = fit_calibration(logits, target, method=method)
        found = fit_calibration(moved, target, method=method)
        assert found.slope == pytest.approx(expected.slope, rel=1e-4)
        assert found.probabilities(moved) == pytest.approx(expected.probabilities(logits), abs=1e-4)


def test_one_fold_is_cross_fitted_by_halves_of_its_groups() -> None:
    logits, target = _logits(400)
    groups, fold = np.repeat(np.arange(100), 4), np.zeros(400, np.int64)
    found = crossfit_probabilities(logits, target, fold, groups=groups)
    half = groups % 2 == 0
    other = fit_calibration(logits[~half], target[~half])
    assert (found[half] == other.probabilities(logits[half])).all()
    # Two folds and more need no halves.
    folds = (groups % 3 == 0).astype(np.int64)
    assert (
        crossfit_probabilities(logits, target, folds, groups=groups)
        == crossfit_probabilities(logits, target, folds)
    ).all()


@pytest.mark.parametrize("groups", [None, np.zeros(10, np.int64)])
def test_one_fold_of_one_group_cannot_be_cross_fitted(groups: Integers | None) -> None:
    with pytest.raises(DataError, match="cannot be cross-fitted"):
        crossfit_probabilities(
            np.arange(10.0), np.array([0, 1] * 5), np.zeros(10, np.int64), groups=groups
        )


def test_a_calibration_survives_json() -> None:
    logits, target = _class_logits(300)
    for found in (
        fit_calibration(logits, target, melanoma=[1]),
        fit_calibration(*_logits(300), method="temperature"),
    ):
        assert Calibration(**json.loads(json.dumps(asdict(found)))) == found


def test_thirty_thousand_images_of_nine_classes_take_no_three_seconds() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(33_126, 9)) * 2
    shift = np.linspace(3, -5, 9)
    sums = softmax(logits + shift, axis=1).cumsum(axis=1)
    target = np.minimum((sums > rng.random((33_126, 1))).argmax(axis=1), 8)
    start = time.process_time()
    fit_calibration(logits, target)
    assert time.process_time() - start < 3


def test_scaling_that_does_not_help_out_of_fold_is_left_out() -> None:
    rng = np.random.default_rng(5)
    truth = rng.normal(size=(600, 1)) * 2
    target = (rng.random(600) < 1 / (1 + np.exp(-truth[:, 0]))).astype(np.int64)
    folds, groups = np.arange(600) % 3, np.arange(600)
    for logits, method in ((truth, "identity"), (truth * 4, "scale")):
        chosen, held_out = choose_method(logits, target, folds, groups=groups)
        assert chosen == method
        assert np.array_equal(
            held_out, crossfit_probabilities(logits, target, folds, method=method)
        )
    plain = fit_calibration(truth, target, method="identity")
    assert np.allclose(plain.probabilities(truth)[:, 1:], 1 / (1 + np.exp(-truth)))
