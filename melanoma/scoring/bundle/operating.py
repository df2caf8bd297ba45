"""What the thresholds of a bundle reach: the sealed ones, and any other that is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from melanoma.errors import RecipeError
from melanoma.evaluation.report.schema import ReportContent
from melanoma.evaluation.report.schema_points import NearScores, OperatingCurve
from melanoma.evaluation.report.served_move import served_move

ASKED = "asked for"


@dataclass(frozen=True)
class Reached:
    """A share of the held-out images and its 95 % interval; None where it is not known."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class SealedInterval:
    """What the threshold that was chosen as `at` reaches."""

    at: str
    sensitivity: Reached
    specificity: Reached


@dataclass(frozen=True)
class ServedPoint:
    """A threshold as an answer has it: what has a probability of `value` or more is flagged.

    What it reaches is None where that is not known.
    """

    value: float
    at: str
    sensitivity: Reached | None = None
    specificity: Reached | None = None


@dataclass(frozen=True)
class JudgedPoint(ServedPoint):
    """A threshold, and whether it would flag the photograph."""

    flagged: bool = field(kw_only=True)


def sealed_intervals(report: ReportContent) -> tuple[SealedInterval, ...]:
    """Of each threshold of the report its sensitivity and specificity.

    A bundle that is moved to another prevalence flags the same images, and so reaches the same.
    """
    return tuple(
        SealedInterval(
            point.at,
            Reached(**point.sensitivity.model_dump()),
            Reached(**point.specificity.model_dump()),
        )
        for point in report.thresholds
    )


def served_curve(report: ReportContent) -> OperatingCurve | None:
    """The report's operating curve at the probabilities that the bundle serves; None of a bundle
    from before there was one."""
    curve, move = report.operating_curve, served_move(report)
    if curve is None or move is None:
        return curve
    moved = move.of(np.array(curve.thresholds))
    return curve.model_copy(update={"thresholds": tuple(moved.tolist())})


def served_near_scores(report: ReportContent) -> tuple[NearScores, ...]:
    """The report's bins of about the same score, at the probabilities that the bundle serves; none
    of a bundle from before there were, or one that was recalibrated on another set."""
    trained, move = report.data.prevalence, served_move(report)
    if report.recalibrated or trained is None or not 0 < trained < 1:
        return ()
    if move is None:
        return report.near_scores
    served = []
    for line in report.near_scores:
        values = np.array([line.start, line.share, line.low, line.high])
        there = move.of(values).tolist()
        ends = dict(zip(("start", "share", "low", "high"), there, strict=True))
        served.append(line.model_copy(update=ends))
    return tuple(served)


def asked_point(value: float, curve: OperatingCurve | None) -> ServedPoint:
    """The threshold `value` as an answer has it, with what it reaches as far as that is known.

    No interval: the curve was sealed without. Raises RecipeError for what is no probability.
    """
    if not 0 <= value <= 1:
        raise RecipeError(f"threshold {value:g}: a probability from 0 to 1, such as 0.5")
    point = ServedPoint(value, ASKED)
    if curve is None:
        return point
    # At or above it lie the same images as at or above the next probability that occurs.
    row = int(np.searchsorted(curve.thresholds, value, side="left"))
    if row == len(curve.thresholds):  # nothing is flagged
        return replace(point, sensitivity=Reached(0.0), specificity=Reached(1.0))
    reached = Reached(curve.sensitivity[row]), Reached(curve.specificity[row])
    return replace(point, sensitivity=reached[0], specificity=reached[1])
