"""What a model reached on ScoredImages: the parts that every report has, whatever was scored.

All intervals of a report come from one set of resamples, drawn once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.metrics import precision_recall_curve, roc_curve

from melanoma.evaluation.measure.operating_points import (
    Threshold,
    describe_thresholds,
    threshold_statistics,
)
from melanoma.evaluation.metrics.bootstrap import Interval, Statistic, bootstrap_intervals
from melanoma.evaluation.metrics.catalog import (
    accuracy,
    auroc,
    average_precision,
    balanced_accuracy,
    brier_score,
    calibration_line,
    class_brier_score,
    class_f1,
    class_log_loss,
    class_precision,
    class_recall,
    confusion_matrix,
    expected_calibration_error,
    log_loss,
    macro_auroc,
    macro_f1,
    partial_auroc,
    reliability_bins,
    sensitivity_at_specificity,
    top_k_accuracy,
)
from melanoma.evaluation.metrics.delong import delong_interval
from melanoma.evaluation.metrics.net_benefit import decision_curve
from melanoma.evaluation.scored_images import NO_FOLD, ScoredImages
from melanoma.types import Floats, Integers

_CURVE_POINTS = 200
_LARGEST_ERRORS = 24


def measure_performance(
    images: ScoredImages,
    thresholds: Sequence[Threshold],
    *,
    uncalibrated: Floats,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """ReportContent's fields from `data` to `largest_errors`, but those that need a fold file.

    `uncalibrated` (N, C) are the probabilities that the networks themselves would give.
    `calibration` holds `before` and `after` only.
    """
    called = _called(images, thresholds)
    before = _confidence(images, uncalibrated)
    after = _confidence(images, images.crossfit)
    statistics = {
        **_metric_statistics(images, after),
        **threshold_statistics(images, thresholds),
        **_class_statistics(images, called),
        **{f"before/{name}": s for name, s in _calibration_statistics(*before).items()},
    }
    found = bootstrap_intervals(
        statistics, images.groups, resamples=resamples, rng=np.random.default_rng(seed)
    )
    names = [name for name in found if "/" not in name]
    return {
        "data": _describe_data(images),
        "metrics": {name: found[name].as_dict() for name in names},
        "cross_checks": _cross_checks(images),
        "thresholds": describe_thresholds(images, thresholds, found),
        "calibration": {
            "before": _describe_calibration(before, found, prefix="before/"),
            "after": _describe_calibration(after, found, prefix=""),
        },
        "curves": _curves(images),
        "per_class": _describe_classes(images, found),
        "confusion": _describe_confusion(images, called, thresholds),
        "net_benefit": _net_benefit(images, resamples=resamples, seed=seed),
        "largest_errors": _largest_errors(images, called),
    }


def _called(images: ScoredImages, thresholds: Sequence[Threshold]) -> Integers:
    """(N,) numbers of the classes that the images were called: by the threshold where there are
    two classes (a half would call every rare melanoma benign), else the likeliest."""
    if images.binary:
        return (images.probability >= thresholds[0].value).astype(np.int64)
    return images.likeliest


def _metric_statistics(
    images: ScoredImages, confidence: tuple[Integers, Floats]
) -> dict[str, Statistic]:
    found: dict[str, Statistic] = {}
    if images.melanoma:
        target, score = images.positive, images.probability
        found |= {
            "auroc": auroc(target, score),
            "partial_auroc_above_sensitivity_0.8": partial_auroc(0.8, target, score),
            "pr_auc": average_precision(target, score),
            "sensitivity_at_specificity_0.9": sensitivity_at_specificity(0.9, target, score),
        }
    if not images.binary:
        target, count = images.target, len(images.classes)
        found |= {
            "macro_auroc": macro_auroc(target, images.by_class),
            "accuracy": accuracy(target, images.likeliest),
            "balanced_accuracy": balanced_accuracy(target, images.likeliest, classes=count),
            "balanced_accuracy_equal_priors": balanced_accuracy(
                target, images.likeliest_if_even, classes=count
            ),
            "macro_f1": macro_f1(target, images.likeliest, classes=count),
            "class_log_loss": class_log_loss(target, images.crossfit),
            "class_brier": class_brier_score(target, images.crossfit),
        }
        found |= {
            f"top_{k}_accuracy": top_k_accuracy(k, target, images.by_class)
            for k in (3, 5)
            if k < count
        }
    return found | _calibration_statistics(*confidence)


def _confidence(images: ScoredImages, by_class: Floats) -> tuple[Integers, Floats]:
    """What calibration is judged by: melanoma and its probability, or, where no class is one,
    whether the likeliest class is right and its probability."""
    if images.melanoma:
        columns = [images.classes.index(name) for name in images.melanoma]
        return images.positive, by_class[:, columns].sum(axis=1)
    likeliest = by_class.argmax(axis=1)
    return (likeliest == images.target).astype(np.int64), by_class.max(axis=1)


def _calibration_statistics(target: Integers, probability: Floats) -> dict[str, Statistic]:
    return {
        "brier": brier_score(target, probability),
        "log_loss": log_loss(target, probability),
        "ece": expected_calibration_error(target, probability),
    }


def _describe_calibration(
    confidence: tuple[Integers, Floats], found: Mapping[str, Interval], *, prefix: str
) -> dict[str, Any]:
    line = calibration_line(*confidence)
    return {
        **{name: found[prefix + name].as_dict() for name in ("brier", "log_loss", "ece")},
        "slope": line.slope if np.isfinite(line.slope) else None,
        "intercept": line.intercept if np.isfinite(line.intercept) else None,
        "bins": [b.model_dump() for b in reliability_bins(*confidence)],
    }


def _describe_data(images: ScoredImages) -> dict[str, Any]:
    patients = images.table["patient_id"]
    known = patients[patients != ""]
    counts = np.bincount(images.target, minlength=len(images.classes))
    positives = int(images.positive.sum()) if images.melanoma else None
    return {
        "images": len(images),
        "positives": positives,
        "groups": int(images.groups.max()) + 1,
        "patients": int(known.nunique()) if len(known) else None,
        "prevalence": positives / len(images) if positives is not None else None,
        "classes": {name: int(n) for name, n in zip(images.classes, counts, strict=True)},
    }


def _cross_checks(images: ScoredImages) -> dict[str, Any]:
    if not _both_outcomes(images):
        return {}
    target, score = images.positive, images.probability
    clustered = delong_interval(target, score, groups=images.groups)
    return {
        "auroc_delong": delong_interval(target, score).as_dict(),
        "auroc_delong_clustered": clustered.as_dict(),
    }


def _both_outcomes(images: ScoredImages) -> bool:
    return bool(images.melanoma) and 0 < images.positive.sum() < len(images)


def _curves(images: ScoredImages) -> dict[str, Any] | None:
    if not _both_outcomes(images):
        return None
    false, true, _ = roc_curve(images.positive, images.probability)
    precision, recall, _ = precision_recall_curve(images.positive, images.probability)
    caught = recall[::-1] > 0  # before the first melanoma there is no precision to speak of
    return {
        "roc": _thinned(false, true),
        "pr": _thinned(recall[::-1][caught], precision[::-1][caught]),
    }


def _thinned(x: Floats, y: Floats) -> dict[str, list[float]]:
    """At most some hundred points, the ends among them, evenly along the curve's length."""
    if len(x) > _CURVE_POINTS:
        along = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
        wanted = np.linspace(0, along[-1], _CURVE_POINTS)
        kept = np.unique(np.searchsorted(along, wanted, side="left").clip(0, len(x) - 1))
        x, y = x[kept], y[kept]
    return {"x": [round(float(v), 6) for v in x], "y": [round(float(v), 6) for v in y]}


def _class_statistics(images: ScoredImages, called: Integers) -> dict[str, Statistic]:
    found: dict[str, Statistic] = {}
    count = len(images.classes)
    for number in range(count):
        own = (images.target == number).astype(np.int64)
        key = f"class/{number}"
        found[f"{key}/auroc"] = auroc(own, images.by_class[:, number])
        found[f"{key}/pr_auc"] = average_precision(own, images.by_class[:, number])
        for name, make in (("precision", class_precision), ("recall", class_recall)):
            found[f"{key}/{name}"] = make(number, images.target, called, classes=count)
        found[f"{key}/f1"] = class_f1(number, images.target, called, classes=count)
    return found


def _describe_classes(images: ScoredImages, found: Mapping[str, Interval]) -> list[dict[str, Any]]:
    names = ("auroc", "pr_auc", "precision", "recall", "f1")
    return [
        {
            "name": name,
            "melanoma": name in images.melanoma,
            "images": int((images.target == number).sum()),
            **{metric: found[f"class/{number}/{metric}"].as_dict() for metric in names},
        }
        for number, name in enumerate(images.classes)
    ]


def _describe_confusion(
    images: ScoredImages, called: Integers, thresholds: Sequence[Threshold]
) -> dict[str, Any]:
    rule = "likeliest class"
    if images.binary:
        point = thresholds[0]
        rule = f"melanoma_probability >= {point.value:.4g} ({point.at})"
    counts = confusion_matrix(images.target, called, classes=len(images.classes))
    return {"classes": list(images.classes), "rule": rule, "counts": counts.tolist()}


def _net_benefit(images: ScoredImages, *, resamples: int, seed: int) -> dict[str, Any] | None:
    if not _both_outcomes(images):
        return None
    curve = decision_curve(
        images.positive,
        images.crossfit_probability,
        images.groups,
        resamples=resamples,
        rng=np.random.default_rng(seed),
    )
    return curve.model_dump()


def _largest_errors(images: ScoredImages, called: Integers) -> list[dict[str, Any]]:
    """The images whose true class got the least probability, the worst first."""
    true = images.by_class[np.arange(len(images)), images.target]
    worst = np.argsort(true, kind="stable")[:_LARGEST_ERRORS]
    names, folds = images.table["image_name"].tolist(), images.table["fold"].tolist()
    return [
        {
            "image_name": names[row],
            "label": images.classes[images.target[row]],
            "predicted": images.classes[called[row]],
            "probability": float(true[row]),
            "melanoma_probability": float(images.probability[row]) if images.melanoma else None,
            "fold": int(folds[row]) if folds[row] != NO_FOLD else None,
        }
        for row in worst
    ]
