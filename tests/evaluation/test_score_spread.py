"""Scores that do not differ are refused, and no calibration turns rounding into certainty."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from melanoma.errors import DataError, DivergedError, WeightsError
from melanoma.evaluation.calibration import STEEPEST, fit_calibration
from melanoma.evaluation.score_spread import (
    describe_equal_scores,
    require_differing_members,
    require_differing_scores,
    require_slope,
)
from melanoma.types import Floats

CLASSES = ("nevus", "melanoma", "keratosis")
RNG = np.random.default_rng(0)
IMAGES = 60


def _constant(*shape: int) -> Floats:
    return np.full(shape, 1.7)


def _rounded(*shape: int) -> Floats:
    """Float32 numbers near 1.7 that differ in their last bits alone."""
    return np.float32(1.7 + 1e-7 * RNG.normal(size=shape)).astype(np.float64)


def _shifted_alike(*shape: int) -> Floats:
    """What is added to all classes alike tells no image from another."""
    return np.float32(_constant(*shape) + RNG.normal(size=(shape[0], 1))).astype(np.float64)


@pytest.mark.parametrize(
    ("logits", "words"),
    [
        (_constant(IMAGES, 1), "have the same score"),
        (_rounded(IMAGES, 1), "have the same score"),
        (1000 * _rounded(IMAGES, 1), "have the same score"),
        (_constant(IMAGES, 3), "have the same score"),
        (_constant(IMAGES, 3) + np.array([9.0, 0.1, -4.0]), "have the same score"),
        (_rounded(IMAGES, 3), "have the same score"),
        (_shifted_alike(IMAGES, 3), "have the same score"),
        (RNG.normal(size=(IMAGES, 3)) * np.array([1, 1, 0.0]), "the same score of keratosis"),
        (np.where(np.arange(IMAGES)[:, None] == 4, np.nan, 1.0), "is not finite"),
    ],
)
def test_scores_that_do_not_differ_are_found(logits: Floats, words: str) -> None:
    found = describe_equal_scores(logits, CLASSES)
    assert found is not None
    assert words in found


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
@pytest.mark.parametrize("shape", [(IMAGES, 1), (IMAGES, 3), (2, 3)])
def test_scores_that_differ_are_taken_however_small_they_are(
    scale: float, shape: tuple[int, ...]
) -> None:
    assert describe_equal_scores(scale * RNG.normal(size=shape), CLASSES) is None


def test_one_image_has_nothing_to_differ_from() -> None:
    assert describe_equal_scores(np.array([[0.3]]), CLASSES) is None


def test_one_constant_fold_among_good_ones_is_named() -> None:
    logits, folds = RNG.normal(size=(IMAGES, 1)), np.arange(IMAGES) % 3
    require_differing_scores(logits, folds, CLASSES)
    logits[folds == 1] = -0.4
    with pytest.raises(DivergedError, match="training diverged: in fold 1 all 20 images") as found:
        require_differing_scores(logits, folds, CLASSES)
    assert found.value.exit_code == 4
    assert "nothing was sealed" in str(found.value)


def test_one_constant_member_among_good_ones_is_named() -> None:
    logits = RNG.normal(size=(IMAGES, 4, 1))
    require_differing_members(logits, CLASSES, what="elsewhere")
    logits[:, 2] = 0.2
    with pytest.raises(DataError, match=r"elsewhere: by member 3 .*the same score") as found:
        require_differing_members(logits, CLASSES, what="elsewhere")
    assert found.value.exit_code == 3


@pytest.mark.parametrize("make", [_constant, _rounded])
@pytest.mark.parametrize("method", ["scale", "temperature"])
def test_no_slope_makes_rounding_a_certainty(make: Callable[..., Floats], method: str) -> None:
    target = (np.arange(IMAGES) % 4 == 0).astype(np.int64)
    for logits in (make(IMAGES), make(IMAGES, 3)):
        # The worst rounding: it agrees with what the images are.
        told = logits + (1e-7 * target if logits.ndim == 1 else 1e-7 * np.eye(3)[target])
        for values in (logits, told):
            found = fit_calibration(values, target, method=method)
            assert 0 < found.slope <= STEEPEST
            probabilities = found.probabilities(values.reshape(IMAGES, -1))
            assert np.ptp(probabilities, axis=0).max() < 0.01


@pytest.mark.parametrize("slope", [3.9e14, 1.2e6, 0.0, -1.0, float("nan")])
def test_a_slope_that_no_differing_scores_would_give_is_refused(slope: float) -> None:
    require_slope(STEEPEST, what="bundle")
    with pytest.raises(WeightsError, match=r"bundle: a calibration of slope .* invents certainty"):
        require_slope(slope, what="bundle")
