"""Calibration: from a member's logit to a probability that can be read as one.

A positive weight w in the loss, or a sampler that shows more positives than there are, shifts the
logit by a known amount (ln w; the log of the odds ratio). That shift is taken out first. What is
left is scaled: p = sigmoid(slope * logit + intercept), fitted on out-of-fold logits by maximum
likelihood with Platt's smoothed targets (Platt 1999).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_expit, logit

from melanoma.evaluation.intervals import Floats, Integers

_FLATTEST = 1e-6  # change of the log-odds over one standard deviation of the logits


@dataclass(frozen=True)
class Calibration:
    """slope > 0, intercept, and the share of positives that the probabilities refer to."""

    slope: float
    intercept: float
    prevalence: float

    def probabilities(self, logits: Floats) -> Floats:
        """Melanoma probabilities in (0, 1) of logits whose prior shift was taken out."""
        values: Floats = expit(self.slope * np.asarray(logits, np.float64) + self.intercept)
        return values


def fit_calibration(logits: Floats, target: Integers) -> Calibration:
    """The scaling that makes these out-of-fold logits most likely."""
    positives = int(target.sum())
    negatives = len(target) - positives
    # Platt's targets keep the slope finite when the classes are separable.
    aim = np.where(target == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    flattest = _FLATTEST / (float(np.std(logits)) or 1.0)

    def slope_of(parameters: Floats) -> float:
        # Searched as its logarithm: a negative slope would reverse the ranking, and one that goes
        # to zero, as for scores that are worse than chance, would end in ties.
        return max(float(np.exp(parameters[0])), flattest)

    def loss(parameters: Floats) -> float:
        scaled = slope_of(parameters) * logits + parameters[1]
        return float(-(aim * log_expit(scaled) + (1 - aim) * log_expit(-scaled)).mean())

    share = (positives + 1) / (len(target) + 2)  # never 0 or 1, whose log-odds are infinite
    start = np.array([0.0, logit(share) - float(np.mean(logits))])
    best = minimize(
        loss, start, method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-12, "maxiter": 4000}
    )
    return Calibration(slope_of(best.x), float(best.x[1]), positives / len(target))


def crossfit_probabilities(logits: Floats, target: Integers, folds: Integers) -> Floats:
    """Probabilities of each fold by the scaling that was fitted on the other folds."""
    probabilities = np.empty(len(logits))
    for fold in np.unique(folds):
        held_out = folds == fold
        others = fit_calibration(logits[~held_out], target[~held_out])
        probabilities[held_out] = others.probabilities(logits[held_out])
    return probabilities


def prior_shift(
    *, positive_weight: float, sampled_share: float | None, training_share: float
) -> float:
    """What the loss's weight and the sampler add to the log-odds, to be subtracted."""
    shift = float(np.log(positive_weight))
    if sampled_share is not None:
        shift += float(logit(sampled_share) - logit(training_share))
    return shift
