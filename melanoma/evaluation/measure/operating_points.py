"""Operating points: thresholds on the melanoma probability, chosen on out-of-fold scores only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np

from melanoma.evaluation.metrics.bootstrap import Interval, Statistic
from melanoma.evaluation.metrics.catalog import (
    accuracy_at,
    balanced_accuracy_at,
    negative_predictive_value_at,
    positive_predictive_value_at,
    sensitivity_at,
    specificity_at,
    threshold_at_sensitivity,
    threshold_at_specificity,
)
from melanoma.evaluation.prevalence import predictive_values, retarget
from melanoma.evaluation.scored_images import ScoredImages
from melanoma.recipe.sections import Evaluation
from melanoma.types import Floats, Integers

_AT = {
    "sensitivity": sensitivity_at,
    "specificity": specificity_at,
    "ppv": positive_predictive_value_at,
    "npv": negative_predictive_value_at,
    "accuracy": accuracy_at,
    "balanced_accuracy": balanced_accuracy_at,
}


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
    wanted = dict.fromkeys((rules.sensitivity, *rules.sensitivities))
    points = [
        Threshold(threshold_at_sensitivity(share, target, score), f"sensitivity {share:g}")
        for share in wanted
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
    return {
        f"threshold/{number}/{name}": make(point.value, images.positive, images.probability)
        for number, point in enumerate(thresholds)
        for name, make in _AT.items()
    }


def describe_thresholds(
    images: ScoredImages, thresholds: Sequence[Threshold], found: Mapping[str, Interval]
) -> list[dict[str, Any]]:
    """OperatingPoint's fields, from the intervals of `threshold_statistics`."""
    return [
        {
            "at": point.at,
            "value": point.value,
            **{name: found[f"threshold/{number}/{name}"].as_dict() for name in _AT},
            **_counts(point.value, images.positive, images.probability),
        }
        for number, point in enumerate(thresholds)
    ]


def describe_elsewhere(
    points: Sequence[Mapping[str, Any]], *, trained: float, wanted: float
) -> list[dict[str, Any]]:
    """OperatingPointElsewhere's fields: the same images flagged, where melanoma is as common as
    `wanted`. Predictive values follow by Bayes from sensitivity and specificity."""
    found = []
    for point in points:
        caught, spared = point["sensitivity"]["value"], point["specificity"]["value"]
        there = predictive_values(caught, spared, prevalence=wanted)
        value = retarget(np.array([point["value"]]), trained=trained, wanted=wanted)
        found.append(
            {
                "at": point["at"],
                "value": float(value[0]),
                "sensitivity": caught,
                "specificity": spared,
                "ppv": there.ppv if isfinite(there.ppv) else None,
                "npv": there.npv if isfinite(there.npv) else None,
                "flagged_share": there.flagged_share,
            }
        )
    return found


def _counts(threshold: float, target: Integers, score: Floats) -> dict[str, int]:
    flagged, positive = score >= threshold, target == 1
    return {
        "true_positives": int((flagged & positive).sum()),
        "false_positives": int((flagged & ~positive).sum()),
        "false_negatives": int((~flagged & positive).sum()),
        "true_negatives": int((~flagged & ~positive).sum()),
        "flagged": int(flagged.sum()),
    }
