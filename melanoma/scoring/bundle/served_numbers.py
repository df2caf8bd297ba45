"""What a manifest says of scores: the report's calibration, thresholds and sets, and their move."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from melanoma.evaluation.calibration import Calibration
from melanoma.evaluation.measure.operating_points import Threshold
from melanoma.evaluation.measure.other_cancer import OtherCancer
from melanoma.evaluation.measure.prediction_sets import SetRule
from melanoma.evaluation.prevalence import Move
from melanoma.evaluation.report.schema import ReportContent
from melanoma.evaluation.report.served_move import served_move


@dataclass(frozen=True)
class ServedNumbers:
    """The numbers that a bundle answers by.

    The calibration and the sets are the report's: they come before the `move`. The thresholds are
    those of an answer, and so come after it.
    """

    other_cancer: OtherCancer | None
    sets: SetRule | None
    calibration: Calibration
    thresholds: tuple[Threshold, ...]
    move: Move | None

    def to_json(self) -> dict[str, Any]:
        """As the manifest states them: what there is none of is left out."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def served_numbers(report: ReportContent) -> ServedNumbers:
    """The report's numbers. The thresholds move with the answer, so the same images are flagged."""
    stated, stated_sets = report.calibration, report.prediction_sets
    calibration = Calibration(
        stated.slope,
        stated.intercept,
        stated.prevalence,
        tuple(stated.class_prevalence.values()),
        stated.method,
    )
    sets = None
    if stated_sets:
        sets = SetRule(stated_sets.level, stated_sets.thresholds, stated_sets.priors)
    grave = report.any_malignancy
    other = OtherCancer(grave.value, grave.at, grave.classes) if grave else None
    move = served_move(report)
    points = [
        Threshold(float(move.of(np.array([p.value]))[0]) if move else p.value, p.at)
        for p in report.thresholds
    ]
    return ServedNumbers(other, sets, calibration, tuple(points), move)
