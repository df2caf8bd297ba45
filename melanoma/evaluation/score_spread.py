"""Scores that do not differ are refused: a calibration fitted on them would invent certainty."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from melanoma.errors import DataError, DivergedError, WeightsError
from melanoma.evaluation.calibration import STEEPEST
from melanoma.types import Floats, Integers

# A float32 logit is rounded at 1e-7 of itself, and a network adds up many roundings.
_LEAST_SPREAD = 1e-5


def describe_equal_scores(logits: Floats, classes: Sequence[str]) -> str | None:
    """What is the same for all images but for rounding, in words; None where the scores differ.

    `logits` are (N, 1), of the second of two classes, or (N, C). One image cannot differ.
    """
    if not np.isfinite(logits).all():
        return "a score is not finite"
    if len(logits) < 2:
        return None
    least = _LEAST_SPREAD * np.maximum(1.0, np.sqrt((logits**2).mean(axis=0)))
    # What is added to all of an image's logits says nothing.
    odds = logits if logits.shape[1] == 1 else logits - logits.mean(axis=1, keepdims=True)
    if (odds.std(axis=0) < least.max()).all():
        spread = odds.std(axis=0).max()
        return f"all {len(logits):,} images have the same score (logits spread by {spread:.1g})"
    same = np.flatnonzero(logits.std(axis=0) < least)
    if len(same):
        return f"all {len(logits):,} images have the same score of {classes[same[0]]}"
    return None


def require_differing_scores(logits: Floats, folds: Integers, classes: Sequence[str]) -> None:
    """Raise DivergedError naming a fold whose scores are the same for all its images."""
    for fold in np.unique(folds):
        problem = describe_equal_scores(logits[folds == fold], classes)
        if problem:
            raise DivergedError(
                f"training diverged: in fold {fold} {problem}, and a calibration of that would "
                "invent certainty; nothing was sealed. Lower optimizer.rate, or give a frozen "
                "backbone weights with --pretrained, and train it again with --resume never"
            )


def require_differing_members(member_logits: Floats, classes: Sequence[str], *, what: str) -> None:
    """Raise DataError naming a member that scores every image of `what` alike; logits (N, K, C)."""
    for number in range(member_logits.shape[1]):
        problem = describe_equal_scores(member_logits[:, number], classes)
        if problem:
            raise DataError(
                f"{what}: by member {number + 1} of the bundle {problem}, so that nothing can be "
                "measured or calibrated; look at the images with python -m melanoma.check, and "
                "train a bundle that tells them apart"
            )


def require_slope(slope: float, *, what: str) -> None:
    """Raise WeightsError for a calibration of `what` that no differing scores would have given.

    Bundles were sealed over constant scores before evaluate refused them.
    """
    if not 0 < slope <= STEEPEST:
        raise WeightsError(
            f"{what}: a calibration of slope {slope:.1g} a logit invents certainty from rounding; "
            "train a network whose scores differ between images, then python -m melanoma.evaluate"
        )
