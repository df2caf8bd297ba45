"""What the thresholds of a bundle reach: the sealed ones, and any other that is asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import expit, logit

from melanoma.errors import RecipeError
from melanoma.evaluation.prevalence import retarget
from melanoma.evaluation.report.schema import ReportContent
from melanoma.evaluation.report.schema_points import NearScores, OperatingCurve
from melanoma.types import Floats

ASKED = "asked for"
_REACHED = ("sensitivity", "specificity")


def sealed_intervals(report: ReportContent) -> list[dict[str, Any]]:
    """Of each threshold of the report its sensitivity and specificity, `{value, low, high}`.

    A bundle that is moved to another prevalence flags the same images, and so reaches the same.
    """
    return [
        {"at": point.at, **{name: getattr(point, name).model_dump() for name in _REACHED}}
        for point in report.thresholds
    ]


def served_curve(report: ReportContent) -> OperatingCurve | None:
    """The report's operating curve at the probabilities that the bundle serves; None of a bundle
    from before there was one."""
    curve = report.operating_curve
    if curve is None:
        return None
    moved: Floats = np.array(curve.thresholds)
    if report.retargeted and report.data.prevalence is not None:
        wanted = report.retargeted.prevalence
        moved = retarget(moved, trained=report.data.prevalence, wanted=wanted)
    if report.recalibrated:
        fit = report.recalibrated
        moved = expit(fit.slope * logit(moved) + fit.intercept)
    return curve.model_copy(update={"thresholds": tuple(moved.tolist())})


def served_near_scores(report: ReportContent) -> tuple[NearScores, ...]:
    """The report's bins of about the same score, at the probabilities that the bundle serves; none
    of a bundle from before there were, or one that was recalibrated on another set."""
    trained, moved = report.data.prevalence, report.retargeted
    if report.recalibrated or trained is None or not 0 < trained < 1:
        return ()
    if moved is None:
        return report.near_scores
    served = []
    for line in report.near_scores:
        values = np.array([line.start, line.share, line.low, line.high])
        there = retarget(values, trained=trained, wanted=moved.prevalence).tolist()
        ends = dict(zip(("start", "share", "low", "high"), there, strict=True))
        served.append(line.model_copy(update=ends))
    return tuple(served)


def asked_point(value: float, curve: OperatingCurve | None) -> dict[str, Any]:
    """The threshold `value` as an answer has it, with what it reaches as far as that is known.

    No interval: the curve was sealed without. Raises RecipeError for what is no probability.
    """
    if not 0 <= value <= 1:
        raise RecipeError(f"threshold {value:g}: a probability from 0 to 1, such as 0.5")
    point: dict[str, Any] = {"value": value, "at": ASKED, **dict.fromkeys(_REACHED)}
    if curve is None:
        return point
    # At or above it lie the same images as at or above the next probability that occurs.
    row = int(np.searchsorted(curve.thresholds, value, side="left"))
    last = row == len(curve.thresholds)
    for name, nothing in zip(_REACHED, (0.0, 1.0), strict=True):
        reached = nothing if last else getattr(curve, name)[row]
        point[name] = {"value": reached, "low": None, "high": None}
    return point
