"""Whole ReportContents without a training run: what the pages are drawn from in tests.

Numbers are computed from scores (real intervals, real curves), so that a figure drawn from them
looks as one of a run does.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit, softmax
from sklearn import metrics as sk

from melanoma.evaluation.intervals import Statistic, bootstrap_interval
from melanoma.evaluation.metrics import (
    auroc,
    average_precision,
    brier_score,
    expected_calibration_error,
    log_loss,
    negative_predictive_value_at,
    positive_predictive_value_at,
    sensitivity_at,
    specificity_at,
    threshold_at_sensitivity,
)
from melanoma.evaluation.schema import ReportContent, validate_report
from melanoma.evaluation.summary import plain_summary

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
NOTHING = {"value": None, "low": None, "high": None}
NO_LEAK = {
    "patients": 0,
    "lesions": 0,
    "groups": 0,
    "identical": 0,
    "near_duplicates": None,
    "findings": [],
}
LONG_NAMES = (
    "<script>alert(1)</script>",
    "basal cell carcinoma & variants",
    "seborrheic keratosis / solar lentigo, flat",
    "vascular | lesion",
)


def binary_content(*, images: int = 900, rate: float = 0.2, **changes: Any) -> ReportContent:
    """Two classes, with subgroups, shortcuts, net benefit and another prevalence."""
    rng = np.random.default_rng(1)
    target = (rng.random(images) < rate).astype(np.int64)
    logit = rng.normal(size=images) * 1.2 + 2.0 * target - 2.6
    group = np.arange(images) // 2
    columns = {
        "sex": rng.choice(["female", "male", "not recorded"], size=images, p=[0.5, 0.47, 0.03]),
        "age": rng.choice(["under 40", "40 to 59", "60 and over"], size=images),
        "site": rng.choice(
            ["torso", "lower extremity", "head/neck", "palms/soles", "oral/genital mucosa & lips"],
            size=images,
            p=[0.5, 0.3, 0.16, 0.02, 0.02],
        ),
    }
    return binary_content_of(target, logit, group, columns=columns, **changes)


def binary_content_of(
    target: Integers,
    logit: Floats,
    group: Integers,
    *,
    columns: dict[str, npt.NDArray[Any]],
    **changes: Any,
) -> ReportContent:
    probability = expit(logit)
    confusion, rule = _cross(target, (probability >= 0.5).astype(np.int64), 2), "likeliest class"
    points = [_point(wanted, target, probability, group) for wanted in (0.95, 0.99, 0.9, 0.8)]
    if points[0] is not None:
        called = (probability >= points[0]["value"]).astype(np.int64)
        confusion = _cross(target, called, 2)
        rule = f"melanoma_probability >= {points[0]['value']:.4g} (sensitivity 0.95)"
    classes = ("benign", "melanoma")
    false, true, _ = sk.roc_curve(target, probability)
    precision, recall, _ = sk.precision_recall_curve(target, probability)
    content = _frame(classes, ("melanoma",), target, group) | {
        "metrics": {
            "auroc": _measure(auroc(target, probability), group),
            "pr_auc": _measure(average_precision(target, probability), group),
            "brier": _measure(brier_score(target, probability), group),
            "log_loss": _measure(log_loss(target, probability), group),
            "ece": {"value": expected_calibration_error(target, probability)},
        },
        "cross_checks": {
            "auroc_delong": _measure(auroc(target, probability), np.arange(len(target)))
        },
        "selection": {
            "kept": "best",
            "best": {"auroc": _measure(auroc(target, probability), group)},
            "last": {"auroc": _measure(auroc(target, probability), group)},
        },
        "thresholds": points,
        "calibration": {
            "method": "scale",
            "slope": 0.79,
            "intercept": -0.15,
            "prevalence": float(target.mean()),
            "class_prevalence": {
                "benign": 1 - float(target.mean()),
                "melanoma": float(target.mean()),
            },
            "prior_shift": {str(fold): 0.7 for fold in range(3)},
            "before": _state(target, expit(logit * 1.5 + 0.7)),
            "after": _state(target, probability) | {"slope": 0.97, "intercept": -0.02},
        },
        "curves": {
            "roc": {"x": _thin(false), "y": _thin(true)},
            "pr": {"x": _thin(recall), "y": _thin(precision)},
        },
        "per_class": [
            _class_line(name, i, target, np.stack([1 - probability, probability], 1), group)
            for i, name in enumerate(classes)
        ],
        "confusion": {"classes": classes, "rule": rule, "counts": confusion},
        "shortcuts": {
            "model": _measure(auroc(target, probability), group),
            "lines": [
                {
                    "name": "age, sex, site",
                    "inputs": ["age", "sex", "site"],
                    "absent": [],
                    "auroc": {"value": 0.66, "low": 0.62, "high": 0.7},
                },
                {
                    "name": "images a patient, file size, image size",
                    "inputs": ["images_of_patient", "bytes", "width", "height"],
                    "absent": ["bytes"],
                    "auroc": {"value": 0.84, "low": 0.81, "high": 0.87},
                },
            ],
        },
        "subgroups": [
            _subgroup(column, value, values == value, target, probability, points[0], group)
            for column, values in columns.items()
            for value in np.unique(values)
        ],
        "net_benefit": _net_benefit(target, probability),
        "retargeted": {"prevalence": 0.02, "thresholds": [_elsewhere(p, 0.02) for p in points]},
        "largest_errors": _errors(classes, target, probability),
    }
    return _finish(content, changes)


def many_class_content(
    *, classes: tuple[str, ...], melanoma: tuple[str, ...] = (), images: int = 1500, **changes: Any
) -> ReportContent:
    """As many classes as are named; without melanoma among them, nothing that flags."""
    rng = np.random.default_rng(2)
    share = 1 / np.arange(1, len(classes) + 1)
    label = rng.choice(len(classes), size=images, p=share / share.sum())
    logits = rng.normal(size=(images, len(classes)))
    logits[np.arange(images), label] += 2.2
    probability = softmax(logits, axis=1)
    group = np.arange(images) // 2
    called = probability.argmax(axis=1)
    lines = [_class_line(name, i, label, probability, group) for i, name in enumerate(classes)]
    right = (called == label).astype(np.int64)
    content = _frame(classes, melanoma, label, group) | {
        "metrics": {
            "macro_auroc": _mean([line["auroc"] for line in lines]),
            "accuracy": {"value": float(right.mean()), "low": 0.5, "high": 0.99},
            "balanced_accuracy": _mean([line["recall"] for line in lines]),
            "macro_f1": _mean([line["f1"] for line in lines]),
        },
        "calibration": {
            "method": "temperature",
            "slope": 0.9,
            "intercept": [0.0] * len(classes),
            "prevalence": None,
            "class_prevalence": dict(
                zip(
                    classes,
                    (np.bincount(label, minlength=len(classes)) / images).tolist(),
                    strict=True,
                )
            ),
            "prior_shift": {str(fold): [0.0] * len(classes) for fold in range(3)},
            "before": _state(right, probability.max(axis=1) ** 0.5),
            "after": _state(right, probability.max(axis=1)),
        },
        "per_class": lines,
        "confusion": {
            "classes": classes,
            "rule": "likeliest class",
            "counts": _cross(label, called, len(classes)),
        },
    }
    if melanoma:
        content |= _melanoma_part(classes, melanoma, label, probability, group)
    return _finish(content, changes)


def undefined_content(**changes: Any) -> ReportContent:
    """Three images, all benign: every metric is null."""
    point = dict.fromkeys(
        ("sensitivity", "specificity", "ppv", "npv", "accuracy", "balanced_accuracy"), NOTHING
    )
    state = {"brier": NOTHING, "log_loss": NOTHING, "ece": NOTHING, "bins": []}
    label = np.zeros(3, dtype=np.int64)
    content = _frame(("benign", "melanoma"), ("melanoma",), label, np.arange(3)) | {
        "metrics": {"auroc": NOTHING, "pr_auc": NOTHING, "ece": NOTHING},
        "thresholds": [
            point
            | {"at": "sensitivity 0.95", "value": 0.5, "flagged": 1, "true_positives": 0}
            | {"false_positives": 1, "false_negatives": 0, "true_negatives": 2}
        ],
        "calibration": {
            "method": "scale",
            "slope": 1.0,
            "intercept": 0.0,
            "prevalence": None,
            "class_prevalence": {},
            "prior_shift": {},
            "before": state,
            "after": state,
        },
        "confusion": {
            "classes": ["benign", "melanoma"],
            "rule": "likeliest class",
            "counts": [[2, 1], [0, 0]],
        },
    }
    return _finish(content, changes)


def external_part(**changes: Any) -> dict[str, Any]:
    """The changes that make a content one of an external set, with an overlap found."""
    overlap = NO_LEAK | {
        "identical": 2,
        "near_duplicates": 5,
        "findings": ["2 images stand in the training set too (ISIC_0000001, ISIC_0000002)"],
    }
    return {
        "folds": [],
        "selection": None,
        "shortcuts": None,
        "external": {
            "recipe": "ham10000_melanoma",
            "model": "siim_mobilenet",
            "model_digest": "ab" * 32,
            "overlap": overlap,
            "recalibration": {"slope": 0.61, "intercept": -0.42},
        },
        "warnings": ["LEAK: 2 images stand in the training set too", "only 40 melanomas"],
    } | changes


def _frame(
    classes: tuple[str, ...], melanoma: tuple[str, ...], label: Integers, group: Integers
) -> dict[str, Any]:
    """What every content has, whatever was measured."""
    counts = np.bincount(label, minlength=len(classes)).tolist()
    positives = sum(n for n, c in zip(counts, classes, strict=True) if c in melanoma)
    images = len(label)
    fold = group % 3
    found = np.isin(label, [i for i, name in enumerate(classes) if name in melanoma])
    positives_in = [int(found[fold == number].sum()) for number in range(3)]
    return {
        "recipe": "synthetic",
        "version": 1,
        "created": "2026-11-21T10:23:18+00:00",
        "classes": classes,
        "melanoma": melanoma,
        "folds_expected": 3,
        "warnings": [],
        "data": {
            "images": images,
            "positives": positives if melanoma else None,
            "groups": len(np.unique(group)),
            "patients": len(np.unique(group)),
            "prevalence": positives / images if melanoma else None,
            "classes": dict(zip(classes, counts, strict=True)),
        },
        "leaks": NO_LEAK,
        "cross_checks": {},
        "selection": None,
        "folds": [
            {
                "fold": number,
                "images": int((fold == number).sum()),
                "positives": positives_in[number] if melanoma else None,
                "auroc": 0.87 + number / 100,
                "pr_auc": 0.6 + number / 100,
                "best_epoch": 6,
                "last_epoch": 9,
                "seconds": 108.4,
            }
            for number in range(3)
        ],
        "thresholds": [],
        "curves": None,
        "per_class": [],
        "shortcuts": None,
        "subgroups": [],
        "net_benefit": None,
        "retargeted": None,
        "largest_errors": [],
        "external": None,
        "intervals": "95 %, 200 bootstrap resamples of groups",
        "digests": {
            "recipe_digest": "99" * 32,
            "folds_digest": "9f" * 32,
            "array_digest": "3c" * 32,
        },
        "versions": {"python": "3.11.7", "torch": "2.15.0", "melanoma": "0.1.0"},
        "device": "cpu",
        "precision": "float32",
        "pretrained": "file sha256:115e5ff7 from mobilenet_v2_imagenet.safetensors",
    }


def _melanoma_part(
    classes: tuple[str, ...],
    melanoma: tuple[str, ...],
    label: Integers,
    probability: Floats,
    group: Integers,
) -> dict[str, Any]:
    """What a content of many classes has besides, where some of them are melanoma."""
    index = [classes.index(name) for name in melanoma]
    target = np.isin(label, index).astype(np.int64)
    score = probability[:, index].sum(axis=1)
    whole = binary_content_of(
        target,
        np.log(score / (1 - score)),
        group,
        columns={"sex": np.array(["female"] * len(label))},
    ).model_dump(mode="json")
    called = probability.argmax(axis=1)
    lines = [_class_line(name, i, label, probability, group) for i, name in enumerate(classes)]
    names = np.array(classes)
    return {key: whole[key] for key in ("thresholds", "curves", "net_benefit", "cross_checks")} | {
        "metrics": whole["metrics"]
        | {
            "balanced_accuracy": _mean([line["recall"] for line in lines]),
            "macro_auroc": _mean([line["auroc"] for line in lines]),
        },
        "calibration": whole["calibration"] | {"method": "temperature"},
        "largest_errors": [
            {
                "image_name": f"ISIC_{i:07d}",
                "label": names[label[i]],
                "predicted": names[called[i]],
                "probability": float(probability[i, label[i]]),
                "melanoma_probability": float(score[i]),
                "fold": int(group[i] % 3),
            }
            for i in np.argsort(probability[np.arange(len(label)), label])[:12]
        ],
    }


def _finish(content: dict[str, Any], changes: dict[str, Any]) -> ReportContent:
    content = content | changes
    return validate_report({**content, "summary": plain_summary(content)})


def _measure(statistic: Statistic, group: Integers) -> dict[str, float | None]:
    rng = np.random.default_rng(0)
    return bootstrap_interval(statistic, group, resamples=200, rng=rng).as_dict()


def _point(wanted: float, target: Integers, probability: Floats, group: Integers) -> dict[str, Any]:
    value = threshold_at_sensitivity(wanted, target, probability)
    flagged = probability >= value
    right = float((flagged == target).mean())
    return {
        "at": f"sensitivity {wanted:g}",
        "value": value,
        "sensitivity": _measure(sensitivity_at(value, target, probability), group),
        "specificity": _measure(specificity_at(value, target, probability), group),
        "ppv": _measure(positive_predictive_value_at(value, target, probability), group),
        "npv": _measure(negative_predictive_value_at(value, target, probability), group),
        "accuracy": {"value": right},
        "balanced_accuracy": {"value": sk.balanced_accuracy_score(target, flagged)},
        "true_positives": int((flagged & (target == 1)).sum()),
        "false_positives": int((flagged & (target == 0)).sum()),
        "false_negatives": int((~flagged & (target == 1)).sum()),
        "true_negatives": int((~flagged & (target == 0)).sum()),
        "flagged": int(flagged.sum()),
    }


def _elsewhere(point: dict[str, Any], prevalence: float) -> dict[str, Any]:
    caught, spared = point["sensitivity"]["value"], point["specificity"]["value"]
    flagged = caught * prevalence + (1 - spared) * (1 - prevalence)
    return {
        "at": point["at"],
        "value": point["value"] / 12,
        "sensitivity": caught,
        "specificity": spared,
        "ppv": caught * prevalence / flagged,
        "npv": spared * (1 - prevalence) / (1 - flagged),
        "flagged_share": flagged,
    }


def _state(target: Integers, probability: Floats) -> dict[str, Any]:
    groups = np.arange(len(target))
    bins = []
    for part in np.array_split(np.argsort(probability, kind="stable"), 10):
        n, observed = len(part), float(target[part].mean())
        # Wilson's interval.
        z = 1.96
        middle = (observed + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z / (1 + z**2 / n) * np.sqrt(observed * (1 - observed) / n + z**2 / (4 * n**2))
        bins.append(
            {
                "predicted": float(probability[part].mean()),
                "observed": observed,
                "low": max(0.0, min(observed, middle - half)),
                "high": min(1.0, max(observed, middle + half)),
                "images": n,
            }
        )
    return {
        "brier": _measure(brier_score(target, probability), groups),
        "log_loss": _measure(log_loss(target, probability), groups),
        "ece": {"value": expected_calibration_error(target, probability)},
        "bins": bins,
    }


def _class_line(
    name: str, index: int, label: Integers, probability: Floats, group: Integers
) -> dict[str, Any]:
    one = (label == index).astype(np.int64)
    called = probability.argmax(axis=1) == index
    precision, recall, f1, _ = sk.precision_recall_fscore_support(
        one, called, average="binary", zero_division=0.0
    )
    return {
        "name": name,
        "melanoma": "melanoma" in name,
        "images": int(one.sum()),
        "auroc": _measure(auroc(one, probability[:, index]), group),
        "pr_auc": _measure(average_precision(one, probability[:, index]), group),
        "precision": {"value": float(precision)},
        "recall": {"value": float(recall)},
        "f1": {"value": float(f1)},
    }


def _subgroup(
    column: str,
    value: str,
    rows: npt.NDArray[np.bool_],
    target: Integers,
    probability: Floats,
    point: dict[str, Any],
    group: Integers,
) -> dict[str, Any]:
    ones, inside = target[rows], probability[rows]
    known = {
        "column": column,
        "value": str(value),
        "images": len(ones),
        "positives": int(ones.sum()),
    }
    if min(ones.sum(), (1 - ones).sum()) < 10:
        nothing = dict.fromkeys(("auroc", "sensitivity", "specificity"), NOTHING)
        return (
            known
            | nothing
            | {
                "mean_predicted": None,
                "observed": None,
                "note": f"only {ones.sum()} melanomas: 10 are needed",
            }
        )
    groups = np.unique(group[rows], return_inverse=True)[1]
    return known | {
        "auroc": _measure(auroc(ones, inside), groups),
        "sensitivity": _measure(sensitivity_at(point["value"], ones, inside), groups),
        "specificity": _measure(specificity_at(point["value"], ones, inside), groups),
        "mean_predicted": float(inside.mean()),
        "observed": float(ones.mean()),
    }


def _net_benefit(target: Integers, probability: Floats) -> dict[str, Any]:
    thresholds = np.linspace(0.01, 0.5, 50)
    odds = thresholds / (1 - thresholds)
    true = np.array([((probability >= t) & (target == 1)).mean() for t in thresholds])
    false = np.array([((probability >= t) & (target == 0)).mean() for t in thresholds])
    model = true - odds * false
    return {
        "thresholds": thresholds.tolist(),
        "model": model.tolist(),
        "model_low": (model - 0.02).tolist(),
        "model_high": (model + 0.02).tolist(),
        "treat_all": (target.mean() - odds * (1 - target.mean())).tolist(),
    }


def _errors(
    classes: tuple[str, ...], target: Integers, probability: Floats
) -> list[dict[str, Any]]:
    true = np.where(target == 1, probability, 1 - probability)
    return [
        {
            "image_name": f"ISIC_{i:07d}",
            "label": classes[target[i]],
            "predicted": classes[1 - target[i]],
            "probability": float(true[i]),
            "melanoma_probability": float(probability[i]),
            "fold": int(i % 3),
        }
        for i in np.argsort(true)[:12]
    ]


def _cross(label: Integers, called: Integers, classes: int) -> list[list[int]]:
    return sk.confusion_matrix(label, called, labels=range(classes)).tolist()


def _mean(metrics: list[dict[str, float | None]]) -> dict[str, float | None]:
    values = [m["value"] for m in metrics if m["value"] is not None]
    middle = float(np.mean(values))
    return {"value": middle, "low": max(0.0, middle - 0.02), "high": min(1.0, middle + 0.02)}


def _thin(values: Floats, most: int = 200) -> list[float]:
    return values[np.unique(np.linspace(0, len(values) - 1, most).astype(int))].tolist()
