"""Blends of several models' probabilities: their mean, fitted weights, stacking, and mean ranks.

Nested: the blend of a fold's images is fitted on the other folds' out-of-fold scores alone, so that
no image's label has a part in its own score. (The other folds' scores come from networks that were
trained on this fold, as in every stacking; they were not told its labels' scores.)
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from scipy.optimize import minimize
from scipy.special import logit
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression

from melanoma.errors import DataError
from melanoma.types import Floats, Integers

_LEAST = 1e-7  # of a probability, whose logarithm must be finite
_STEPS, _CLOSE = 50, 1e-12  # of the fit of the weights, and of the mean log likelihood at its end
RIDGE = 1.0  # of the stacking's coefficients, as scikit-learn's C


class Blend(Protocol):
    """From (K, N, C) probabilities of K models, and (N, F) of what else is known where it was
    fitted with that, to (N, C), each row summing to 1 (but for ranks)."""

    def __call__(self, probabilities: Floats, context: Floats | None = None) -> Floats: ...


class Fit(Protocol):
    """A blend of (K, N, C) probabilities and (N,) class numbers, with (N, F) context if it can."""

    def __call__(
        self, probabilities: Floats, target: Integers, context: Floats | None = None
    ) -> Blend: ...


class Weighted(NamedTuple):
    """The mean of the models' probabilities with these weights, which sum to 1."""

    weights: tuple[float, ...]

    def __call__(self, probabilities: Floats, context: Floats | None = None) -> Floats:
        """(K, N, C) -> (N, C)."""
        del context
        mean: Floats = np.tensordot(np.asarray(self.weights), probabilities, axes=1)
        return mean


class Stacked(NamedTuple):
    """A logistic regression on the models' log-odds (of two classes) or log-probabilities, and on
    the context that it was fitted with."""

    model: LogisticRegression

    def __call__(self, probabilities: Floats, context: Floats | None = None) -> Floats:
        """(K, N, C) -> (N, C)."""
        blended: Floats = self.model.predict_proba(_features(probabilities, context))
        return blended


class Ranked(NamedTuple):
    """The mean place of an image among those that it is blended with, a class at a time: above 0,
    at most 1. It orders them and is no probability: the same image among others has another."""

    models: int

    def __call__(self, probabilities: Floats, context: Floats | None = None) -> Floats:
        """(K, N, C) -> (N, C), whose rows do not sum to 1."""
        del context
        places: Floats = rankdata(probabilities, axis=1).mean(axis=0) / probabilities.shape[1]
        return places


def mean_ranks(probabilities: Floats, target: Integers, context: Floats | None = None) -> Ranked:
    """Every model's order alike, whatever its scale: nothing is fitted."""
    del target, context
    return Ranked(len(probabilities))


def equal_mean(probabilities: Floats, target: Integers, context: Floats | None = None) -> Weighted:
    """Every model alike: nothing is fitted."""
    del target, context
    return Weighted((1 / len(probabilities),) * len(probabilities))


def fit_weights(probabilities: Floats, target: Integers, context: Floats | None = None) -> Weighted:
    """The weights, 0 or more and 1 together, whose mean makes the true classes most likely.

    (K, N, C) probabilities and (N,) class numbers. The likelihood of a mixture is concave in its
    weights: expectation-maximization (Dempster, Laird and Rubin 1977) comes near its top and then
    slows down, sequential least squares ends there.
    """
    del context
    likely = np.take_along_axis(probabilities, target[None, :, None], axis=2)[..., 0]
    likely = np.clip(likely, _LEAST, 1.0)
    weights = np.full(len(likely), 1 / len(likely))
    for _ in range(_STEPS):
        share = weights[:, None] * likely
        weights = (share / share.sum(axis=0)).mean(axis=1)
    optimum = minimize(
        lambda w: -np.log(w @ likely).mean(),
        weights,
        jac=lambda w: -(likely / (w @ likely)).mean(axis=1),
        method="SLSQP",
        bounds=[(0.0, 1.0)] * len(weights),
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like},
        options={"ftol": _CLOSE},
    )
    weights = np.clip(optimum.x, 0.0, None)
    return Weighted(tuple((weights / weights.sum()).tolist()))


def fit_stacking(probabilities: Floats, target: Integers, context: Floats | None = None) -> Stacked:
    """The logistic regression (Wolpert 1992), its coefficients held down by a ridge."""
    model = LogisticRegression(C=RIDGE, max_iter=2000)
    return Stacked(model.fit(_features(probabilities, context), target))


# Adding a blend is one function and one line here.
BLENDS: dict[str, Fit] = {
    "equal": equal_mean,
    "weights": fit_weights,
    "stacking": fit_stacking,
    "ranks": mean_ranks,
}


def blend_nested(
    fit: Fit,
    probabilities: Floats,
    target: Integers,
    folds: Integers,
    context: Floats | None = None,
) -> tuple[Floats, dict[int, Blend]]:
    """(N, C): each fold's images by the blend that was fitted on the others, and these blends.

    Raises DataError where there is one fold, or where the others lack a class.
    """
    numbers = [int(number) for number in np.unique(folds)]
    if len(numbers) < 2:
        raise DataError("a blend is fitted on other folds than it is judged on; there is one fold")
    blended, fitted = np.empty(probabilities.shape[1:]), {}
    for number in numbers:
        held_out = folds == number
        if set(target[~held_out]) != set(target):
            raise DataError(f"without fold {number} a class has no image; a blend needs some")
        parts = [None if context is None else context[rows] for rows in (~held_out, held_out)]
        fitted[number] = fit(probabilities[:, ~held_out], target[~held_out], parts[0])
        blended[held_out] = fitted[number](probabilities[:, held_out], parts[1])
    return blended, fitted


def _features(probabilities: Floats, context: Floats | None) -> Floats:
    """(N, K) log-odds of the second of two classes, or (N, K * C) log-probabilities; the context
    beside them."""
    clipped = np.clip(probabilities, _LEAST, 1 - _LEAST)
    if probabilities.shape[2] == 2:
        features: Floats = logit(clipped[..., 1]).T
    else:
        features = np.log(clipped).transpose(1, 0, 2).reshape(probabilities.shape[1], -1)
    return features if context is None else np.column_stack([features, context])
