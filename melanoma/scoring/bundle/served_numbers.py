"""What a manifest says of scores: the report's calibration, thresholds and sets, or moved ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from scipy.special import expit, logit

from melanoma.errors import RecipeError
from melanoma.evaluation.calibration import Calibration
from melanoma.evaluation.measure.operating_points import Threshold
from melanoma.evaluation.measure.other_cancer import OtherCancer
from melanoma.evaluation.measure.prediction_sets import SetRule, recalibrate_sets
from melanoma.evaluation.prevalence import retarget_calibration
from melanoma.evaluation.report.schema import Recalibrated, ReportContent
from melanoma.recipe.recipe import Recipe


@dataclass(frozen=True)
class ServedNumbers:
    """The numbers that a bundle answers by."""

    other_cancer: OtherCancer | None
    sets: SetRule | None
    calibration: Calibration
    thresholds: tuple[Threshold, ...]

    def to_json(self) -> dict[str, Any]:
        """As the manifest states them: what there is none of is left out."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def served_numbers(report: ReportContent, recipe: Recipe) -> ServedNumbers:
    """Calibration and thresholds: the report's, or moved to the prevalence that it was asked for.

    The thresholds move with the probabilities, so that each member flags the same images; the mean
    of moved members is not exactly the moved mean, so that few at the threshold may turn.
    """
    stated = report.calibration
    calibration = Calibration(
        stated.slope,
        stated.intercept,
        stated.prevalence,
        tuple(stated.class_prevalence.values()),
        stated.method,
    )
    points = [Threshold(point.value, point.at) for point in report.thresholds]
    elsewhere, fit = report.retargeted, report.recalibrated
    if elsewhere:
        numbers = recipe.melanoma_columns
        calibration = retarget_calibration(calibration, numbers, wanted=elsewhere.prevalence)
        points = [Threshold(point.value, point.at) for point in elsewhere.thresholds]
    if fit:
        before = calibration
        calibration, points = recalibrate(before, points, recipe.melanoma_columns, fit)
    stated_sets = report.prediction_sets
    sets = None
    if stated_sets:
        sets = SetRule(stated_sets.level, stated_sets.thresholds, stated_sets.priors)
        # Not moved to another prevalence: a set is the same at every one.
        if fit:
            sets = _move_sets(sets, before, recipe.melanoma_columns, fit)
    grave = report.any_malignancy
    other = OtherCancer(grave.value, grave.at, grave.classes) if grave else None
    # The other cancers' share stands on one that no prevalence of melanoma moves.
    return ServedNumbers(other, sets, calibration, tuple(points))


def recalibrate(
    calibration: Calibration,
    points: Sequence[Threshold],
    melanoma: Sequence[int],
    fit: Recalibrated,
) -> tuple[Calibration, list[Threshold]]:
    """Both followed by p -> sigmoid(slope * logit(p) + intercept), p that of melanoma, whose
    numbers are `melanoma`; the others' share of the rest stays. Raises RecipeError for a slope
    other than 1 of more than two classes, whose probabilities have none for melanoma alone."""
    at_home = calibration.intercept
    intercept: float | tuple[float, ...]
    if isinstance(at_home, tuple):
        if fit.slope != 1:
            raise RecipeError("recalibration of more than two classes has the slope 1")
        inside = np.isin(np.arange(len(at_home)), list(melanoma))
        intercept = tuple((np.asarray(at_home) + np.where(inside, fit.intercept, 0.0)).tolist())
    else:
        intercept = fit.slope * at_home + fit.intercept
    there = retarget_calibration(calibration, melanoma, wanted=fit.prevalence)
    moved = replace(there, slope=fit.slope * calibration.slope, intercept=intercept)
    return moved, [
        Threshold(float(expit(fit.slope * logit(point.value) + fit.intercept)), point.at)
        for point in points
    ]


def _move_sets(
    rule: SetRule, before: Calibration, melanoma: Sequence[int], fit: Recalibrated
) -> SetRule:
    """The rule that gives the same sets of the recalibrated probabilities."""
    if not isinstance(before.intercept, tuple):
        return recalibrate_sets(
            rule, slope=fit.slope, intercept=fit.intercept, prevalence=fit.prevalence
        )
    # As if the share alone had moved, by as much as the log-odds did: the rule's priors undo it.
    assert before.prevalence is not None
    more = logit(fit.prevalence) - logit(before.prevalence) - fit.intercept
    inside = np.isin(np.arange(len(rule.priors)), list(melanoma))
    odds = np.asarray(rule.priors) * np.where(inside, np.exp(more), 1.0)
    return replace(rule, priors=tuple((odds / odds.sum()).tolist()))
