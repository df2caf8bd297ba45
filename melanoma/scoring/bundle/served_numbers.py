"""What a manifest says of scores: the report's calibration, thresholds and sets, or moved ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from scipy.special import expit, logit

from melanoma.errors import RecipeError
from melanoma.evaluation.calibration import Calibration
from melanoma.evaluation.measure.operating_points import Threshold
from melanoma.evaluation.measure.other_cancer import OtherCancer
from melanoma.evaluation.measure.prediction_sets import SetRule, recalibrate_sets
from melanoma.evaluation.prevalence import retarget_calibration
from melanoma.evaluation.report.schema import ReportContent
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

    The thresholds move with the probabilities, so the same images are flagged.
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
        calibration, points = recalibrate(
            calibration,
            points,
            slope=fit.slope,
            intercept=fit.intercept,
            prevalence=fit.prevalence,
        )
    stated_sets = report.prediction_sets
    sets = None
    if stated_sets:
        sets = SetRule(stated_sets.level, stated_sets.thresholds, stated_sets.priors)
        # Not moved to another prevalence: a set is the same at every one.
        if fit:
            moved = {"slope": fit.slope, "intercept": fit.intercept, "prevalence": fit.prevalence}
            sets = recalibrate_sets(sets, **moved)
    grave = report.any_malignancy
    other = OtherCancer(grave.value, grave.at, grave.classes) if grave else None
    # The other cancers' share stands on one that no prevalence of melanoma moves.
    return ServedNumbers(other, sets, calibration, tuple(points))


def recalibrate(
    calibration: Calibration,
    points: Sequence[Threshold],
    *,
    slope: float,
    intercept: float,
    prevalence: float,
) -> tuple[Calibration, list[Threshold]]:
    """Both followed by p -> sigmoid(slope * logit(p) + intercept). Raises RecipeError where there
    are more than two classes."""
    if isinstance(calibration.intercept, tuple):
        raise RecipeError("recalibration on an external set is for bundles of two classes")
    moved = replace(
        calibration,
        slope=slope * calibration.slope,
        intercept=slope * calibration.intercept + intercept,
        prevalence=prevalence,
        class_prevalence=(1 - prevalence, prevalence),
    )
    return moved, [
        Threshold(float(expit(slope * logit(point.value) + intercept)), point.at)
        for point in points
    ]
