"""What an epoch reaches on the fold's held-out images, and the number that judges it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import logsumexp
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    f1_score,
    roc_auc_score,
)

from melanoma.evaluation.metrics.metric_catalog import METRICS
from melanoma.recipe.recipe import Recipe
from melanoma.recipe.sections import Schedule
from melanoma.types import Floats, Integers

EpochMetrics = dict[str, float | None]
_RENAMED = {"auprc": "pr_auc"}  # of recipes, and of the catalog


def validate(
    recipe: Recipe, logits: Floats, target: Integers, *, shift: float | Sequence[float]
) -> EpochMetrics:
    """`valid_loss` and `auroc`, melanoma against the rest (None where no class is melanoma).

    With several outputs also `macro_auroc`, and `accuracy`, `balanced_accuracy` and `macro_f1` of
    the likeliest class; a recipe that is judged by `auprc` has that too (average precision of
    melanoma against the rest). `logits` are (N, outputs); `shift` is what weights and sampler
    add to them. Several outputs have it taken out first, as in the report, since it decides which
    class is the likeliest. With one output it moves no AUROC, and the loss is of the network's own
    logits.
    """
    if not recipe.is_binary:
        return _of_classes(recipe, logits - np.asarray(shift), target)
    logits = logits[:, 0]
    metrics: EpochMetrics = {
        "valid_loss": float(np.mean(np.logaddexp(0, logits) - target * logits)),
        "auroc": float(roc_auc_score(target, logits)),
    }
    if recipe.selection_metric == "macro_auroc":  # each class against the other is one question
        metrics["macro_auroc"] = metrics["auroc"]
    elif recipe.selection_metric == "auprc":
        metrics["auprc"] = float(average_precision_score(target, logits))
    elif recipe.selection_metric not in ("auroc", "loss"):
        metrics |= _of_calls((logits > shift).astype(np.int64), target)
    return metrics


def metric_names() -> dict[str, str]:
    """What the catalog calls the metrics of an epoch, by their name in metrics.jsonl."""
    names = ("auroc", "auprc", "macro_auroc", "accuracy", "balanced_accuracy", "macro_f1")
    return {name: METRICS[_RENAMED.get(name, name)].short for name in names}


def judge(recipe: Recipe, metrics: EpochMetrics) -> float:
    """The value of the recipe's selection metric, the higher the better."""
    metric = recipe.selection_metric
    value = metrics["valid_loss" if metric == "loss" else metric]
    assert value is not None, "the recipe refuses these without melanoma classes"
    return -value if metric == "loss" else value


def watched(schedule: Schedule, metrics: EpochMetrics, judged: float) -> float:
    """What a plateau waits for, the higher the better: what judges the epoch, or the loss."""
    loss = metrics["valid_loss"]
    assert loss is not None, "every epoch has one"
    return -loss if schedule.metric == "loss" else judged


def log_odds(logits: Floats, classes: Sequence[int]) -> Floats:
    """(N,): ln of the probability of `classes` over that of the others, from (N, C) logits.

    It ranks as the probability does, without the ties of one that is rounded to 1.
    """
    others = [number for number in range(logits.shape[1]) if number not in classes]
    odds: Floats = logsumexp(logits[:, list(classes)], axis=1) - logsumexp(
        logits[:, others], axis=1
    )
    return odds


def _of_classes(recipe: Recipe, logits: Floats, target: Integers) -> EpochMetrics:
    melanoma = recipe.melanoma_columns
    own = logits[np.arange(len(target)), target]
    precision: EpochMetrics = {}
    if recipe.selection_metric == "auprc":
        ranked = log_odds(logits, melanoma)
        precision["auprc"] = float(average_precision_score(np.isin(target, melanoma), ranked))
    return {
        "valid_loss": float(np.mean(logsumexp(logits, axis=1) - own)),
        "auroc": _auroc(logits, target, melanoma) if melanoma else None,
        "macro_auroc": float(
            np.mean([_auroc(logits, target, [number]) for number in range(logits.shape[1])])
        ),
        **precision,
        **_of_calls(logits.argmax(axis=1), target),
    }


def _auroc(logits: Floats, target: Integers, classes: Sequence[int]) -> float:
    return float(roc_auc_score(np.isin(target, classes), log_odds(logits, classes)))


def _of_calls(called: Integers, target: Integers) -> dict[str, float]:
    return {
        "accuracy": float(accuracy_score(target, called)),
        "balanced_accuracy": float(balanced_accuracy_score(target, called)),
        "macro_f1": float(f1_score(target, called, average="macro")),
    }
