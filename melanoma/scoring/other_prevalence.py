"""An answer for a place where melanoma is as common as the caller says."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from melanoma.errors import RecipeError
from melanoma.evaluation.asked_prevalence import require_asked
from melanoma.evaluation.prevalence import move_between
from melanoma.scoring.bundle.bundle import Bundle
from melanoma.scoring.bundle.operating import ServedPoint
from melanoma.scoring.frequency import natural_frequency
from melanoma.scoring.verdict import sum_by_risk

if TYPE_CHECKING:
    from melanoma.scoring.prediction import Prediction

P = TypeVar("P", bound=ServedPoint)


def require_prevalence(value: float, bundle: Bundle) -> None:
    """Raise RecipeError unless a place can have it and the bundle can be moved there."""
    require_asked(value, name="prevalence")
    here = bundle.prevalence
    if here is None or not 0 < here < 1:
        raise RecipeError("a prevalence: the bundle's recipe names no melanoma class")


def move_prediction(prediction: Prediction, bundle: Bundle, prevalence: float) -> Prediction:
    """The answer where `prevalence` of the lesions are melanomas (Saerens 2002), but its verdict.

    Probabilities and thresholds move together, so the same photographs are flagged. The share of
    other cancers if it is no melanoma does not move. The set of possible classes stays, and gains
    the class that is likeliest there. `by_fold` are the members' own, moved: their mean is not
    exactly the answer any more.
    """
    require_prevalence(prevalence, bundle)
    here, score = prediction.prevalence, prediction.melanoma_probability
    assert here is not None and score is not None  # as require_prevalence has it

    move = move_between(here, prevalence)

    def moved(values: list[float]) -> list[float]:
        return [float(v) for v in move.of(np.array(values))]

    def point(asked: P) -> P:
        return replace(asked, value=moved([asked.value])[0])

    (probability,) = moved([score])
    by_class = np.array([prediction.by_class[name] for name in bundle.classes])
    there = move.shares(by_class, bundle.melanoma_columns).tolist()
    shares = dict(zip(bundle.classes, there, strict=True))
    likeliest = max(shares, key=lambda name: shares[name])
    possible, text = prediction.set, prediction.frequency
    return replace(
        prediction,
        melanoma_probability=probability,
        prediction=likeliest,
        probability=shares[likeliest],
        by_class=shares,
        by_fold=moved(prediction.by_fold),
        threshold=point(prediction.threshold) if prediction.threshold else None,
        thresholds=[point(one) for one in prediction.thresholds],
        risk=sum_by_risk(shares, bundle.risk) if bundle.risk else None,
        set=possible.at(shares) if possible else None,
        frequency=natural_frequency(probability, prevalence, bundle) if text else None,
        prevalence=prevalence,
    )
