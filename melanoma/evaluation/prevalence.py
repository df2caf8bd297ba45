"""The same scores elsewhere: probabilities and predictive values where melanoma is rarer.

Holds where the images of a class look alike in both places, and only how common the classes are
differs (Saerens, Latinne & Decaestecker 2002).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy.special import expit, logit

from melanoma.errors import RecipeError
from melanoma.evaluation.calibration import Calibration
from melanoma.types import Floats


class PredictiveValues(NamedTuple):
    """By Bayes; NaN where nothing, or everything, would be flagged."""

    ppv: float
    npv: float
    flagged_share: float


def retarget(probability: Floats, *, trained: float, wanted: float) -> Floats:
    """Melanoma probabilities for a place where melanoma's share is `wanted` instead of `trained`.

    The odds are multiplied by the ratio of the two shares' odds, so the order is kept. Raises
    RecipeError unless both shares lie between 0 and 1.
    """
    _require_shares(trained, wanted)
    values: Floats = expit(logit(probability) + logit(wanted) - logit(trained))
    return values


def retarget_calibration(
    calibration: Calibration, melanoma: Sequence[int], *, wanted: float
) -> Calibration:
    """The calibration whose probabilities are `retarget` of the given one's.

    A change of the share adds a constant to the log-odds, so only the intercept moves. `melanoma`
    numbers its classes. Raises RecipeError where none is melanoma, or a share is not inside (0, 1).
    """
    trained = calibration.prevalence
    if trained is None:
        raise RecipeError("no class is melanoma, so there is no prevalence to re-target")
    _require_shares(trained, wanted)
    up, down = np.log(wanted / trained), np.log((1 - wanted) / (1 - trained))
    inside = np.isin(np.arange(len(calibration.class_prevalence)), list(melanoma))
    moved = np.where(inside, up, down)
    shares = np.asarray(calibration.class_prevalence) * np.exp(moved)
    intercept: float | tuple[float, ...]
    if isinstance(calibration.intercept, tuple):
        intercept = tuple((np.asarray(calibration.intercept) + moved).tolist())
    else:
        intercept = calibration.intercept + float(up - down)
    return replace(
        calibration,
        intercept=intercept,
        prevalence=wanted,
        class_prevalence=tuple(shares.tolist()),
    )


def predictive_values(
    sensitivity: float, specificity: float, *, prevalence: float
) -> PredictiveValues:
    """PPV, NPV and the share that is flagged, where melanoma's share is `prevalence`."""
    true_positive = sensitivity * prevalence
    false_positive = (1 - specificity) * (1 - prevalence)
    flagged = true_positive + false_positive
    true_negative = specificity * (1 - prevalence)
    spared = true_negative + (1 - sensitivity) * prevalence
    return PredictiveValues(
        true_positive / flagged if flagged > 0 else float("nan"),
        true_negative / spared if spared > 0 else float("nan"),
        flagged,
    )


def _require_shares(trained: float, wanted: float) -> None:
    for name, value in (("the images'", trained), ("the wanted", wanted)):
        if not 0 < value < 1:
            raise RecipeError(f"{name} prevalence is {value}; it must lie between 0 and 1")
