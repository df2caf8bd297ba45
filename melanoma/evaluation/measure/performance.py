"""What a model reached on ScoredImages: the parts that every report has, whatever was scored.

All intervals of a report come from one set of resamples, drawn once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from sklearn.metrics import precision_recall_curve, roc_curve

from melanoma.evaluation.measure.operating_points import (
    Threshold,
    describe_thresholds,
    threshold_statistics,
)
from melanoma.evaluation.measure.other_cancer import (
    OtherCancer,
    describe_any_malignancy,
    other_cancer_statistics,
)
from melanoma.evaluation.metrics.bootstrap import Interval, Statistic, bootstrap_intervals
from melanoma.evaluation.metrics.decisions import (
    class_f1,
    class_precision,
    class_recall,
    confusion_matrix,
)
from melanoma.evaluation.metrics.delong import delong_interval
from melanoma.evaluation.metrics.metric_catalog import CALIBRATION, METRICS
from melanoma.evaluation.metrics.net_benefit import decision_curve
from melanoma.evaluation.metrics.probability_scores import (
    calibration_line,
    exact_calibration_error,
    reliability_bins,
)
from melanoma.evaluation.metrics.ranking import auroc, average_precision
from melanoma.evaluation.report.schema import Mistake
from melanoma.evaluation.report.schema_parts import (
    CalibrationState,
    ClassLine,
    Confusion,
    Curve,
    Curves,
    DataSummary,
    Measured,
    NetBenefit,
)
from melanoma.evaluation.report.schema_points import (
    AnyMalignancy,
    OperatingCurve,
    OperatingPoint,
)
from melanoma.evaluation.scored_images import NO_FOLD, ScoredImages
from melanoma.types import Floats, Integers

_CURVE_POINTS = 200
_LARGEST_ERRORS = 24


@dataclass(frozen=True)
class Performance:
    """ReportContent's fields from `data` to `largest_errors`, but those that need a fold file.

    Calibration `before` is of what the networks themselves say, `after` of cross-fitted scaling.
    """

    data: DataSummary
    metrics: dict[str, Measured]
    cross_checks: dict[str, Measured]
    thresholds: tuple[OperatingPoint, ...]
    any_malignancy: AnyMalignancy | None
    before: CalibrationState
    after: CalibrationState
    curves: Curves | None
    operating_curve: OperatingCurve | None
    per_class: tuple[ClassLine, ...]
    confusion: Confusion
    net_benefit: NetBenefit | None
    largest_errors: tuple[Mistake, ...]


def measure_performance(
    images: ScoredImages,
    thresholds: Sequence[Threshold],
    *,
    uncalibrated: Floats,
    resamples: int,
    seed: int,
    other_cancer: OtherCancer | None = None,
) -> Performance:
    """Everything that images and scores alone decide; `uncalibrated` (N, C) are probabilities."""
    called, rule = _calls(images, thresholds)
    before = replace(images, crossfit=uncalibrated)
    statistics = {
        **{name: spec.make(images) for name, spec in METRICS.items() if spec.applies(images)},
        **threshold_statistics(images, thresholds),
        **other_cancer_statistics(images, thresholds, other_cancer),
        **_class_statistics(images, called),
        **{f"before/{name}": METRICS[name].make(before) for name in CALIBRATION},
    }
    intervals = bootstrap_intervals(
        statistics, images.groups, resamples=resamples, rng=np.random.default_rng(seed)
    )
    return Performance(
        data=_describe_data(images),
        metrics={
            name: interval.measured() for name, interval in intervals.items() if "/" not in name
        },
        cross_checks=_cross_checks(images),
        thresholds=describe_thresholds(images, thresholds, intervals),
        any_malignancy=describe_any_malignancy(images, thresholds, other_cancer, intervals),
        before=_describe_calibration(before, intervals, prefix="before/"),
        after=_describe_calibration(images, intervals, prefix=""),
        curves=_curves(images),
        operating_curve=operating_curve(images),
        per_class=_describe_classes(images, intervals),
        confusion=_describe_confusion(images, called, rule),
        net_benefit=_net_benefit(images, resamples=resamples, seed=seed),
        largest_errors=_largest_errors(images, called),
    )


def _calls(images: ScoredImages, thresholds: Sequence[Threshold]) -> tuple[Integers, str]:
    """(N,) numbers of the classes that the images were called, and the rule: by the threshold where
    there are two classes (a half would call every rare melanoma benign), else the likeliest."""
    if not images.binary:
        return images.likeliest, "likeliest class"
    point = thresholds[0]
    called = (images.probability >= point.value).astype(np.int64)
    return called, f"melanoma_probability >= {point.value:.4g} ({point.at})"


def _describe_calibration(
    images: ScoredImages, intervals: Mapping[str, Interval], *, prefix: str
) -> CalibrationState:
    line = calibration_line(*images.confidence)
    return CalibrationState(
        **{name: intervals[prefix + name].measured() for name in CALIBRATION},
        ece_if_exact=exact_calibration_error(images.confidence[1]),
        slope=line.slope,
        intercept=line.intercept,
        bins=reliability_bins(*images.confidence),
    )


def _describe_data(images: ScoredImages) -> DataSummary:
    patients = images.table["patient_id"]
    known = patients[patients != ""]
    counts = np.bincount(images.target, minlength=len(images.classes))
    positives = int(images.positive.sum()) if images.melanoma else None
    return DataSummary(
        images=len(images),
        positives=positives,
        groups=int(images.groups.max()) + 1,
        patients=int(known.nunique()) if len(known) else None,
        prevalence=positives / len(images) if positives is not None else None,
        classes={name: int(n) for name, n in zip(images.classes, counts, strict=True)},
    )


def _cross_checks(images: ScoredImages) -> dict[str, Measured]:
    if not _both_outcomes(images):
        return {}
    target, score = images.positive, images.probability
    clustered = delong_interval(target, score, groups=images.groups)
    return {
        "auroc_delong": delong_interval(target, score).measured(),
        "auroc_delong_clustered": clustered.measured(),
    }


def _both_outcomes(images: ScoredImages) -> bool:
    return bool(images.melanoma) and 0 < images.positive.sum() < len(images)


def _curves(images: ScoredImages) -> Curves | None:
    if not _both_outcomes(images):
        return None
    false, true, _ = roc_curve(images.positive, images.probability)
    precision, recall, _ = precision_recall_curve(images.positive, images.probability)
    caught = recall[::-1] > 0  # before the first melanoma there is no precision to speak of
    return Curves(
        roc=_thinned(false, true), pr=_thinned(recall[::-1][caught], precision[::-1][caught])
    )


def operating_curve(images: ScoredImages) -> OperatingCurve | None:
    """Every probability that occurs as a threshold, or some hundred of them."""
    if not _both_outcomes(images):
        return None
    # The first threshold is infinite: it flags nothing.
    false, true, thresholds = (
        values[:0:-1]
        for values in roc_curve(images.positive, images.probability, drop_intermediate=False)
    )
    rows = _evenly(false, true)
    return OperatingCurve(
        thresholds=tuple(thresholds[rows].tolist()),
        sensitivity=tuple(round(float(v), 6) for v in true[rows]),
        specificity=tuple(round(float(v), 6) for v in 1 - false[rows]),
    )


def _evenly(x: Floats, y: Floats) -> Integers:
    """Rows of at most some hundred points, the ends among them, evenly along the curve's length."""
    if len(x) <= _CURVE_POINTS:
        return np.arange(len(x))
    along = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
    lengths = np.linspace(0, along[-1], _CURVE_POINTS)
    return np.unique(np.searchsorted(along, lengths, side="left").clip(0, len(x) - 1))


def _thinned(x: Floats, y: Floats) -> Curve:
    rows = _evenly(x, y)
    x, y = x[rows], y[rows]
    return Curve(x=tuple(round(float(v), 6) for v in x), y=tuple(round(float(v), 6) for v in y))


def _class_statistics(images: ScoredImages, called: Integers) -> dict[str, Statistic]:
    statistics: dict[str, Statistic] = {}
    count = len(images.classes)
    for number in range(count):
        own = (images.target == number).astype(np.int64)
        key = f"class/{number}"
        statistics[f"{key}/auroc"] = auroc(own, images.by_class[:, number])
        statistics[f"{key}/pr_auc"] = average_precision(own, images.by_class[:, number])
        for name, make in (("precision", class_precision), ("recall", class_recall)):
            statistics[f"{key}/{name}"] = make(number, images.target, called, classes=count)
        statistics[f"{key}/f1"] = class_f1(number, images.target, called, classes=count)
    return statistics


def _describe_classes(
    images: ScoredImages, intervals: Mapping[str, Interval]
) -> tuple[ClassLine, ...]:
    names = ("auroc", "pr_auc", "precision", "recall", "f1")
    return tuple(
        ClassLine(
            name=name,
            melanoma=name in images.melanoma,
            images=int((images.target == number).sum()),
            **{metric: intervals[f"class/{number}/{metric}"].measured() for metric in names},
        )
        for number, name in enumerate(images.classes)
    )


def _describe_confusion(images: ScoredImages, called: Integers, rule: str) -> Confusion:
    counts = confusion_matrix(images.target, called, classes=len(images.classes))
    return Confusion(classes=images.classes, rule=rule, counts=counts.tolist())


def _net_benefit(images: ScoredImages, *, resamples: int, seed: int) -> NetBenefit | None:
    if not _both_outcomes(images):
        return None
    return decision_curve(
        images.positive,
        images.crossfit_probability,
        images.groups,
        resamples=resamples,
        rng=np.random.default_rng(seed),
    )


def _largest_errors(images: ScoredImages, called: Integers) -> tuple[Mistake, ...]:
    """The images whose true class got the least probability, the worst first."""
    true = images.by_class[np.arange(len(images)), images.target]
    worst = np.argsort(true, kind="stable")[:_LARGEST_ERRORS]
    names, folds = images.table["image_name"].tolist(), images.table["fold"].tolist()
    return tuple(
        Mistake(
            image_name=names[row],
            label=images.classes[images.target[row]],
            predicted=images.classes[called[row]],
            probability=float(true[row]),
            melanoma_probability=float(images.probability[row]) if images.melanoma else None,
            fold=int(folds[row]) if folds[row] != NO_FOLD else None,
        )
        for row in worst
    )
