"""What the folds reach on the part of a source (data.sources) that each of them held out."""

from __future__ import annotations

import numpy as np

from melanoma.evaluation.measure.operating_points import Threshold
from melanoma.evaluation.metrics.bootstrap import Statistic, bootstrap_intervals
from melanoma.evaluation.metrics.decisions import sensitivity_at, specificity_at
from melanoma.evaluation.metrics.metric_catalog import METRICS
from melanoma.evaluation.metrics.probability_scores import (
    CalibrationLine,
    calibration_line,
    exact_calibration_error,
    expected_calibration_error,
)
from melanoma.evaluation.prevalence import retarget
from melanoma.evaluation.report.schema_parts import Measured
from melanoma.evaluation.report.schema_sources import HeldOutSource
from melanoma.evaluation.scored_images import ScoredImages

_METRICS = ("auroc", "within_patient_concordance", "ece")


def describe_held_out(
    images: ScoredImages,
    point: Threshold,
    *,
    trained: float,
    resamples: int,
    seed: int,
) -> HeldOutSource:
    """The figures of a source's images, melanoma or not, each scored by a member that never saw it.

    `point` was chosen, and the calibration fitted, on the recipe's own images, of which the share
    `trained` are melanomas.
    """
    target, score = images.positive, images.probability
    statistics: dict[str, Statistic] = {
        "sensitivity": sensitivity_at(point.value, target, score),
        "specificity": specificity_at(point.value, target, score),
    }
    statistics |= {
        name: METRICS[name].make(images) for name in _METRICS if METRICS[name].applies(images)
    }
    share = float(target.mean())
    line, if_exact = CalibrationLine(None, None), None
    if 0 < share < 1 and 0 < trained < 1:
        moved = retarget(score, trained=trained, wanted=share)
        statistics["ece_at_own_share"] = expected_calibration_error(target, moved)
        line, if_exact = calibration_line(target, moved), exact_calibration_error(moved)
    intervals = bootstrap_intervals(
        statistics, images.groups, resamples=resamples, rng=np.random.default_rng(seed)
    )
    measured = {name: interval.measured() for name, interval in intervals.items()}
    known = images.table["patient_id"].to_numpy(str)
    return HeldOutSource(
        images=len(images),
        positives=int(target.sum()),
        patients=len(np.unique(known[known != ""])) or None,
        at=point.at,
        threshold=point.value,
        auroc=measured["auroc"],
        within_patient_concordance=measured.get("within_patient_concordance"),
        sensitivity=measured["sensitivity"],
        specificity=measured["specificity"],
        ece=measured["ece"],
        ece_at_own_share=measured.get("ece_at_own_share") or Measured(value=None),
        ece_if_exact=if_exact,
        slope_at_own_share=line.slope,
        intercept_at_own_share=line.intercept,
    )
