"""The same scores elsewhere: probabilities and predictive values where melanoma is rarer.

Holds where the images of a class look alike in both places, and only how common the classes are
differs (Saerens, Latinne & Decaestecker 2002).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import expit, logit

from melanoma.errors import RecipeError
from melanoma.types import Floats

_LEAST = 1e-300  # of a probability whose logarithm is taken


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
    return move_between(trained, wanted).of(probability)


@dataclass(frozen=True)
class Move:
    """Probabilities p of melanoma that become sigmoid(slope * logit(p) + intercept).

    The other classes share the rest as before. `prevalence` is the share of melanomas that the
    moved probabilities refer to. An answer is moved after the mean over the members: a mean of
    moved members is another number.
    """

    slope: float
    intercept: float
    prevalence: float

    def of(self, probability: Floats) -> Floats:
        """Melanoma probabilities, moved."""
        values: Floats = expit(self.slope * logit(probability) + self.intercept)
        return values

    def shares(self, by_class: Floats, melanoma: Sequence[int]) -> Floats:
        """(..., C) probabilities of classes, of which `melanoma` numbers those that count."""
        inside = np.isin(np.arange(by_class.shape[-1]), list(melanoma))
        # Not 1 - p: a probability that rounds to 1 has odds as well.
        ours, rest = (
            np.maximum(by_class[..., part].sum(axis=-1, keepdims=True), _LEAST)
            for part in (inside, ~inside)
        )
        odds = self.slope * (np.log(ours) - np.log(rest)) + self.intercept
        moved: Floats = by_class * np.where(inside, expit(odds) / ours, expit(-odds) / rest)
        return moved

    def priors(self, shares: Sequence[float], melanoma: Sequence[int]) -> tuple[float, ...]:
        """How common the classes are where `prevalence` are melanomas, and `shares` where the
        probabilities come from: those of melanoma and the others keep their proportions."""
        here = float(np.take(shares, list(melanoma)).sum())
        there = move_between(here, self.prevalence)
        return tuple(there.shares(np.array(shares), melanoma).tolist())

    def then(self, after: Move) -> Move:
        """Both, this one first."""
        slope, intercept = after.slope * self.slope, after.slope * self.intercept + after.intercept
        return Move(slope, intercept, after.prevalence)


def move_between(trained: float, wanted: float) -> Move:
    """From a place where `trained` are melanomas to one where `wanted` are (see `retarget`).

    Raises RecipeError unless both shares lie between 0 and 1.
    """
    _require_shares(trained, wanted)
    return Move(1.0, float(logit(wanted) - logit(trained)), wanted)


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
