"""Operating points: thresholds on the melanoma probability, chosen on out-of-fold scores only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np

from melanoma.errors import DataError
from melanoma.evaluation.metrics.bootstrap import Interval, Statistic
from melanoma.evaluation.metrics.decisions import (
    accuracy_at,
    balanced_accuracy_at,
    negative_predictive_value_at,
    positive_predictive_value_at,
    sensitivity_at,
    specificity_at,
)
from melanoma.evaluation.metrics.ranking import (
    threshold_at_sensitivity,
    threshold_at_specificity,
)
from melanoma.evaluation.prevalence import Move, predictive_values
from melanoma.evaluation.report.schema import OperatingPointElsewhere
from melanoma.evaluation.report.schema_points import (
    OperatingPoint,
)
from melanoma.evaluation.scored_images import ScoredImages
from melanoma.recipe.sections import Evaluation
from melanoma.types import Flags, Floats, Integers

_AT = {
    "sensitivity": sensitivity_at,
    "specificity": specificity_at,
    "ppv": positive_predictive_value_at,
    "npv": negative_predictive_value_at,
    "accuracy": accuracy_at,
    "balanced_accuracy": balanced_accuracy_at,
}


_CROSSFIT = ("sensitivity", "specificity")


@dataclass(frozen=True)
class Threshold:
    """An operating point on the calibrated probability: flagged when probability >= value."""

    value: float
    at: str


def choose_thresholds(images: ScoredImages, rules: Evaluation) -> tuple[Threshold, ...]:
    """The recipe's operating points, the one that flags first; none without melanoma classes."""
    if not images.melanoma:
        return ()
    target, score = images.positive, images.probability
    sensitivities = dict.fromkeys((rules.sensitivity, *rules.sensitivities))
    points = [
        Threshold(threshold_at_sensitivity(share, target, score), f"sensitivity {share:g}")
        for share in sensitivities
    ]
    points += [
        Threshold(threshold_at_specificity(share, target, score), f"specificity {share:g}")
        for share in dict.fromkeys(rules.specificities)
    ]
    return tuple(points)


def threshold_statistics(
    images: ScoredImages, thresholds: Sequence[Threshold]
) -> dict[str, Statistic]:
    """Every share of every threshold, by `threshold/NUMBER/NAME`."""
    statistics: dict[str, Statistic] = {
        f"threshold/{number}/{name}": make(point.value, images.positive, images.probability)
        for number, point in enumerate(thresholds)
        for name, make in _AT.items()
    }
    for number, point in enumerate(thresholds):
        flags = crossfit_flags(images, point.at)
        if flags is not None:
            score = flags.astype(np.float64)
            for name in _CROSSFIT:
                key = f"threshold/{number}/crossfit_{name}"
                statistics[key] = _AT[name](0.5, images.positive, score)
    return statistics


def crossfit_flags(images: ScoredImages, at: str) -> Flags | None:
    """(N,) whether each image is flagged by the threshold that the other folds' images choose for
    the same `at`, such as "sensitivity 0.95".

    None where there are no two folds with both kinds of image each, or `at` is no such rule.
    """
    folds = images.table["fold"].to_numpy(np.int64)
    rule, _, text = at.partition(" ")
    choose = {"sensitivity": threshold_at_sensitivity, "specificity": threshold_at_specificity}
    numbers = np.unique(folds)
    if rule not in choose or len(numbers) < 2:
        return None
    flags = np.zeros(len(folds), bool)
    for fold in numbers:
        own = folds == fold
        if len(np.unique(images.positive[~own])) < 2:
            return None
        value = choose[rule](float(text), images.positive[~own], images.probability[~own])
        flags[own] = images.probability[own] >= value
    return flags


def describe_thresholds(
    images: ScoredImages, thresholds: Sequence[Threshold], intervals: Mapping[str, Interval]
) -> tuple[OperatingPoint, ...]:
    """Each threshold's line, from the intervals of `threshold_statistics`."""
    return tuple(
        OperatingPoint.model_validate(
            {
                "at": point.at,
                "value": point.value,
                **{name: intervals[f"threshold/{number}/{name}"].measured() for name in _AT},
                **{
                    f"crossfit_{name}": intervals[key].measured()
                    for name in _CROSSFIT
                    if (key := f"threshold/{number}/crossfit_{name}") in intervals
                },
                **_counts(point.value, images.positive, images.probability),
            }
        )
        for number, point in enumerate(thresholds)
    )


def describe_elsewhere(
    points: Sequence[OperatingPoint], move: Move
) -> tuple[OperatingPointElsewhere, ...]:
    """The same images flagged, where their probabilities are moved.

    Predictive values follow by Bayes from sensitivity and specificity.
    """
    elsewhere = []
    for point in points:
        caught, spared = point.sensitivity.value, point.specificity.value
        if caught is None or spared is None:
            raise DataError(f"{point.at} is undefined: there are no melanomas, or nothing else")
        there = predictive_values(caught, spared, prevalence=move.prevalence)
        value = move.of(np.array([point.value]))
        elsewhere.append(
            OperatingPointElsewhere(
                at=point.at,
                value=float(value[0]),
                sensitivity=caught,
                specificity=spared,
                ppv=there.ppv if isfinite(there.ppv) else None,
                npv=there.npv if isfinite(there.npv) else None,
                flagged_share=there.flagged_share,
            )
        )
    return tuple(elsewhere)


def _counts(threshold: float, target: Integers, score: Floats) -> dict[str, int]:
    flagged, positive = score >= threshold, target == 1
    return {
        "true_positives": int((flagged & positive).sum()),
        "false_positives": int((flagged & ~positive).sum()),
        "false_negatives": int((~flagged & positive).sum()),
        "true_negatives": int((~flagged & ~positive).sum()),
        "flagged": int(flagged.sum()),
    }
