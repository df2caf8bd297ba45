"""Calibration: from a member's logits to probabilities that can be read as such.

A positive weight w in the loss, or a sampler that shows more of a class than there is, shifts the
logits by a known amount (ln w; the log of the ratio of shares). That shift is taken out first. What
is left is scaled: p = sigmoid(slope * logit + intercept), or p = softmax(slope * logits +
intercepts), fitted on out-of-fold logits by maximum likelihood with Platt's smoothed targets (Platt
1999). "scale" fits slope and intercepts, "temperature" the slope alone (Guo et al. 2017).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy.special import expit, log_softmax, logit, softmax

from melanoma.errors import DataError
from melanoma.types import Floats, Integers

Method = Literal["scale", "temperature", "identity"]
# One slope for all classes: with one a class, the order of two images could be reversed.
_FLATTEST = 1e-6  # change of the log-odds over one standard deviation of the logits
# Change of the log-odds over one logit: a float32 logit near 1 is rounded at 1e-7, which a steeper
# slope would show as differences between images that no network made.
STEEPEST = 1e4


@dataclass(frozen=True)
class Calibration:
    """slope > 0, intercept (a number, or one a class), and what the probabilities refer to.

    `prevalence` is the share of melanomas among the images of the fit, None where the recipe names
    no melanoma class; `class_prevalence` the share of every class, in their order.
    """

    slope: float
    intercept: float | tuple[float, ...]
    prevalence: float | None
    class_prevalence: tuple[float, ...] = ()
    method: Method = "scale"

    def __post_init__(self) -> None:
        # JSON has lists only.
        if not isinstance(self.intercept, int | float):
            object.__setattr__(self, "intercept", tuple(self.intercept))
        object.__setattr__(self, "class_prevalence", tuple(self.class_prevalence))

    def probabilities(self, logits: Floats) -> Floats:
        """(..., C) of logits whose prior shift was taken out, each row summing to 1; the logits as
        of `plain_probabilities`."""
        return plain_probabilities(
            self.slope * np.asarray(logits, np.float64) + np.asarray(self.intercept)
        )


def plain_probabilities(logits: Floats) -> Floats:
    """(..., C) probabilities of logits as they are: (..., 1) of the second of two classes, or
    (..., C)."""
    if logits.shape[-1] == 1:
        return by_class(expit(logits))
    probabilities: Floats = softmax(logits, axis=-1)
    return probabilities


def by_class(probabilities: Floats) -> Floats:
    """(..., C) of what one output gives, (..., 1) of the second of two classes, or several."""
    if probabilities.shape[-1] == 1:
        return np.concatenate([1 - probabilities, probabilities], axis=-1)
    return probabilities


def fit_calibration(
    logits: Floats,
    target: Integers,
    *,
    method: Method = "scale",
    melanoma: Sequence[int] = (),
) -> Calibration:
    """The scaling that makes these out-of-fold logits most likely.

    Binary: logits (N,) or (N, 1), target 1 for melanoma. Several classes: logits (N, C), target the
    number of the class, and `melanoma` the numbers of the melanoma classes.
    """
    logits = logits.reshape(len(logits), -1)
    binary = logits.shape[1] == 1
    if binary:  # two classes of logits 0 and z: softmax is the sigmoid of z
        logits, melanoma = np.concatenate([np.zeros(logits.shape), logits], axis=1), [1]
    classes = logits.shape[1]
    prevalence = float(np.isin(target, list(melanoma)).mean()) if melanoma else None
    fit = _Fit(1.0, np.zeros(classes)) if method == "identity" else _fit(logits, target, method)
    low, high = fit.intercepts[:2].tolist()
    intercept = high - low if binary else tuple(fit.intercepts.tolist())
    return Calibration(fit.slope, intercept, prevalence, _shares(target, classes), method)


def crossfit_probabilities(
    logits: Floats,
    target: Integers,
    folds: Integers,
    *,
    groups: Integers | None = None,
    method: Method = "scale",
) -> Floats:
    """(N, C) probabilities of each fold by the scaling that was fitted on the other folds.

    One fold alone has no others: its `groups` are halved instead, and each half is scaled by the
    other's. Raises DataError where there is one fold and fewer than two groups.
    """
    parts = folds if groups is None else crossfit_parts(folds, groups)
    if len(np.unique(parts)) < 2:
        raise DataError(
            "probabilities cannot be cross-fitted on one fold of one group; train another fold"
        )
    logits = logits.reshape(len(logits), -1)
    probabilities = np.empty((len(logits), max(2, logits.shape[1])))
    for part in np.unique(parts):
        held_out = parts == part
        others = fit_calibration(logits[~held_out], target[~held_out], method=method)
        probabilities[held_out] = others.probabilities(logits[held_out])
    return probabilities


def choose_method(
    logits: Floats,
    target: Integers,
    folds: Integers,
    *,
    groups: Integers,
    melanoma: Sequence[int] = (),
) -> tuple[Method, Floats]:
    """Scale where it helps out of fold: cross-fitted, the log loss is smaller than without it, over
    all images and in more than half of the folds. Else identity. With its cross-fitted
    probabilities.

    The log loss is that of melanoma or not, which is what is served and judged; over all classes
    where none is melanoma. Logits, groups and what is raised are as in `crossfit_probabilities`.
    """
    parts = crossfit_parts(folds, groups)
    scaled = crossfit_probabilities(logits, target, folds, groups=groups)
    plain = plain_probabilities(logits)
    gain = _losses(plain, target, melanoma) - _losses(scaled, target, melanoma)
    better = [gain[parts == part].mean() > 0 for part in np.unique(parts)]
    helps = gain.mean() > 0 and sum(better) > len(better) / 2
    return ("scale", scaled) if helps else ("identity", plain)


def _losses(probabilities: Floats, target: Integers, melanoma: Sequence[int]) -> Floats:
    """(N,) minus the log of what happened, in nats."""
    if melanoma:
        share = probabilities[:, list(melanoma)].sum(axis=1)
        true = np.where(np.isin(target, list(melanoma)), share, 1 - share)
    else:
        true = probabilities[np.arange(len(target)), target]
    losses: Floats = -np.log(np.clip(true, 1e-15, 1.0))
    return losses


def crossfit_parts(folds: Integers, groups: Integers) -> Integers:
    """What is held out in turn: each fold, or each half of the groups where there is one fold."""
    return folds if len(np.unique(folds)) > 1 else groups % 2


def prior_shift(
    *, positive_weight: float, sampled_share: float | None, training_share: float
) -> float:
    """What the loss's weight and the sampler add to the log-odds, to be subtracted."""
    shift = float(np.log(positive_weight))
    if sampled_share is not None:
        shift += float(logit(sampled_share) - logit(training_share))
    return shift


class _Fit(NamedTuple):
    slope: float
    intercepts: Floats


def _fit(logits: Floats, target: Integers, method: Method) -> _Fit:
    """Slope and intercepts of softmax(slope * logits + intercepts), the intercepts' mean 0."""
    from scipy.optimize import minimize

    classes = logits.shape[1]
    # Only differences within a row count. One scale for all, so that the search meets numbers near
    # 1 whatever the network's are.
    centered = logits - logits.mean(axis=0)
    centered = centered - centered.mean(axis=1, keepdims=True)
    spread = float(np.sqrt((centered**2).sum(axis=1).mean() * 2 / classes))
    if spread * STEEPEST <= _FLATTEST:  # constant but for rounding, which must not be stretched
        spread = 1.0
    inputs = centered / spread if method == "scale" else logits / spread
    aim = _smoothed(target, classes)
    free = classes if method == "scale" else 0
    start = np.zeros(1 + free)
    if free:
        start[1:] = np.log(aim.mean(axis=0))
    best = minimize(
        _loss(inputs, aim),
        start,
        jac=True,
        method="L-BFGS-B",
        # Searched as its logarithm, and bounded: a negative slope would reverse the ranking, and
        # one that goes to zero, as for scores worse than chance, would end in ties.
        bounds=[(np.log(_FLATTEST), np.log(STEEPEST * spread))] + [(-60.0, 60.0)] * free,
        options={"maxiter": 1000, "ftol": 1e-15, "gtol": 1e-9},
    )
    slope = min(float(np.exp(best.x[0])) / spread, STEEPEST)
    if not free:
        return _Fit(slope, np.zeros(classes))
    intercepts = best.x[1:] - slope * logits.mean(axis=0)
    return _Fit(slope, intercepts - intercepts.mean())


def _loss(inputs: Floats, aim: Floats) -> Callable[[Floats], tuple[float, Floats]]:
    images = len(inputs)

    def loss(parameters: Floats) -> tuple[float, Floats]:
        slope = np.exp(parameters[0])
        likely = log_softmax(slope * inputs + _padded(parameters[1:], inputs), axis=1)
        excess = (np.exp(likely) - aim) / images
        along = slope * (excess * inputs).sum()
        gradient = np.concatenate([[along], excess.sum(axis=0)[: len(parameters) - 1]])
        return -float((aim * likely).sum() / images), gradient

    return loss


def _padded(intercepts: Floats, inputs: Floats) -> Any:
    return intercepts if len(intercepts) else np.zeros(inputs.shape[1])


def _smoothed(target: Integers, classes: int) -> Floats:
    """(N, C) aims: Platt's, which keep the fit finite where classes separate or are absent.

    An image of a class of n aims at (n + 1) / (n + 2) for it, and shares the rest among the others
    as they are common (counts plus one). For two classes these are Platt's 1/(n + 2).
    """
    times = np.bincount(target, minlength=classes).astype(np.float64)
    own_aim = (times + 1) / (times + 2)
    common = np.tile(times + 1, (classes, 1))
    np.fill_diagonal(common, 0.0)
    aims = (1 - own_aim)[:, None] * common / common.sum(axis=1, keepdims=True)
    np.fill_diagonal(aims, own_aim)
    smoothed: Floats = aims[target]
    return smoothed


def _shares(target: Integers, classes: int) -> tuple[float, ...]:
    return tuple((np.bincount(target, minlength=classes) / len(target)).tolist())
