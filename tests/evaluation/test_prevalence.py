"""Probabilities follow the prevalence by Bayes, and keep their order."""

from __future__ import annotations

import numpy as np
import pytest

from melanoma.errors import RecipeError
from melanoma.evaluation.prevalence import (
    Move,
    move_between,
    predictive_values,
    retarget,
)

PROBABILITY = np.array([0.001, 0.02, 0.3, 0.5, 0.9, 0.9999])


def test_the_same_prevalence_changes_nothing() -> None:
    assert retarget(PROBABILITY, trained=0.2, wanted=0.2) == pytest.approx(PROBABILITY)


@pytest.mark.parametrize("wanted", [0.001, 0.02, 0.5, 0.9])
def test_the_order_is_kept_and_the_way_back_leads_back(wanted: float) -> None:
    moved = retarget(PROBABILITY, trained=0.2, wanted=wanted)
    assert (np.diff(moved) > 0).all()
    assert ((moved > PROBABILITY) == (wanted > 0.2)).all()
    assert retarget(moved, trained=wanted, wanted=0.2) == pytest.approx(PROBABILITY)


def test_an_image_that_says_nothing_gets_the_prevalence() -> None:
    assert retarget(np.array([0.2]), trained=0.2, wanted=0.02) == pytest.approx([0.02])


def test_probabilities_of_one_place_are_calibrated_in_another() -> None:
    """Scores of two normal classes, drawn at 20 % and at 2 %: Bayes' probability of each."""
    rng = np.random.default_rng(1)

    def draw(share: float) -> tuple[np.ndarray, np.ndarray]:
        target = (rng.random(200_000) < share).astype(int)
        score = rng.normal(size=200_000) + 1.5 * target
        odds = share / (1 - share) * np.exp(1.5 * score - 1.5**2 / 2)
        return score, odds / (1 + odds)

    _, here = draw(0.2)
    assert here.mean() == pytest.approx(0.2, abs=0.005)
    elsewhere, there = draw(0.02)
    odds = 0.25 * np.exp(1.5 * elsewhere - 1.5**2 / 2)
    moved = retarget(odds / (1 + odds), trained=0.2, wanted=0.02)
    np.testing.assert_allclose(moved, there, rtol=1e-6)  # approx looks at each of 200,000
    assert there.mean() == pytest.approx(0.02, abs=0.001)


def _among_five() -> np.ndarray:
    logits = np.random.default_rng(0).normal(size=(40, 3, 5)) * 3
    return np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)


def test_melanoma_among_many_classes_moves_as_it_does_alone() -> None:
    classes, move = _among_five(), Move(0.7, -1.3, 0.02)
    moved = move.shares(classes, [1, 3])
    assert moved.sum(axis=-1) == pytest.approx(np.ones((40, 3)))
    alone = move.of(classes[..., [1, 3]].sum(axis=-1))
    assert moved[..., [1, 3]].sum(axis=-1) == pytest.approx(alone)
    assert moved[..., 0] / moved[..., 2] == pytest.approx(classes[..., 0] / classes[..., 2])
    assert moved[..., 1] / moved[..., 3] == pytest.approx(classes[..., 1] / classes[..., 3])


def test_what_is_all_but_certain_moves_too() -> None:
    """A melanoma of probability 1 - 1e-20 rounds to 1, and of 1e-400 to 0: neither is NaN."""
    classes = np.array([[1e-20, 1.0], [1.0, 0.0]])
    moved = Move(1.0, -30.0, 0.02).shares(classes, [1])
    assert moved[0, 0] == pytest.approx(1e-20 * np.exp(30), rel=1e-6)
    assert moved[1].tolist() == [1.0, 0.0]


def test_two_moves_are_one() -> None:
    first, second = Move(0.5, -1.0, 0.3), Move(2.0, 0.25, 0.05)
    both = first.then(second)
    assert both.of(PROBABILITY) == pytest.approx(second.of(first.of(PROBABILITY)))
    assert both.prevalence == 0.05
    back = move_between(0.2, 0.02).then(move_between(0.02, 0.2))
    assert back.of(PROBABILITY) == pytest.approx(PROBABILITY)


def test_the_shares_of_classes_follow_melanomas() -> None:
    found = np.array(Move(0.7, 1.0, 0.02).priors([0.3, 0.1, 0.3, 0.01, 0.29], [1, 3]))
    assert found[[1, 3]] == pytest.approx([0.02 * 10 / 11, 0.02 / 11])
    assert found[[0, 2, 4]] == pytest.approx(0.98 * np.array([30, 30, 29]) / 89)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, float("nan")])
def test_a_prevalence_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(RecipeError, match="must lie between 0 and 1"):
        retarget(PROBABILITY, trained=0.2, wanted=share)
    with pytest.raises(RecipeError, match="must lie between 0 and 1"):
        retarget(PROBABILITY, trained=share, wanted=0.2)


def test_predictive_values_by_bayes() -> None:
    """Eddy's mammography (1982): 1 % ill, 80 % caught, 9.6 % false alarms: 7.8 % PPV."""
    found = predictive_values(0.8, 1 - 0.096, prevalence=0.01)
    assert found.ppv == pytest.approx(0.0776, abs=5e-5)
    assert found.npv == pytest.approx(0.99 * 0.904 / (0.99 * 0.904 + 0.01 * 0.2))
    assert found.flagged_share == pytest.approx(0.008 + 0.99 * 0.096)


def test_predictive_values_at_the_images_own_prevalence_are_those_counted() -> None:
    # TP 347, FN 76, TN 550, FP 44.
    found = predictive_values(347 / 423, 550 / 594, prevalence=423 / 1017)
    assert found == pytest.approx((347 / 391, 550 / 626, 391 / 1017))


def test_what_flags_nothing_has_no_predictive_value() -> None:
    assert np.isnan(predictive_values(0.0, 1.0, prevalence=0.1).ppv)
    assert np.isnan(predictive_values(1.0, 0.0, prevalence=0.1).npv)
