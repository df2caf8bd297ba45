"""Report: what a run reached, from its ScoreTable and its folds' facts alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from melanoma.evaluation.calibration import (
    Calibration,
    crossfit_probabilities,
    fit_calibration,
)
from melanoma.evaluation.intervals import Integers, Interval, Statistic, bootstrap_interval
from melanoma.evaluation.metrics import (
    auroc,
    average_precision,
    brier_score,
    expected_calibration_error,
    log_loss,
    negative_predictive_value_at,
    positive_predictive_value_at,
    sensitivity_at,
    sensitivity_at_specificity,
    specificity_at,
    threshold_at_sensitivity,
)
from melanoma.evaluation.scores import Floats, ScoreTable
from melanoma.recipe import Recipe
from melanoma.storage import write_text

Facts = dict[str, Any]


@dataclass(frozen=True)
class Threshold:
    """An operating point on the calibrated probability: flagged when probability >= value."""

    value: float
    at: str


@dataclass(frozen=True)
class Report:
    """The numbers (`content` is report.json), and the arrays that the figures draw."""

    content: dict[str, Any]
    calibration: Calibration
    threshold: Threshold
    target: Integers
    probability: Floats  # the bundle's calibration, fitted on all out-of-fold logits
    crossfit: Floats  # each fold's by the calibration of the other folds


def corrected_logits(scores: ScoreTable, facts: Sequence[Facts], column: str = "logit") -> Floats:
    """The table's logits with each fold's prior shift taken out."""
    shift = {int(f["fold"]): float(f["prior_shift"]) for f in facts}
    return scores.logits(column) - scores.frame["fold"].map(shift).to_numpy(np.float64)


def build_report(
    recipe: Recipe,
    scores: ScoreTable,
    facts: Sequence[Facts],
    *,
    folds_expected: int | None = None,
    seed: int | None = None,
) -> Report:
    """Calibrate, choose the threshold, and measure everything with intervals.

    Metrics of ranking (AUROC, PR-AUC) and at the threshold use the bundle's probabilities; those
    of calibration use cross-fitted ones, since a fit on the same images flatters itself.
    """
    logits, target = corrected_logits(scores, facts), scores.target
    folds = scores.frame["fold"].to_numpy(np.int64)
    calibration = fit_calibration(logits, target)
    probability = calibration.probabilities(logits)
    crossfit = crossfit_probabilities(logits, target, folds, groups=scores.groups)
    wanted = recipe.evaluation.sensitivity
    threshold = Threshold(
        threshold_at_sensitivity(wanted, target, probability), f"sensitivity {wanted:g}"
    )
    measure = _Measure(scores, recipe, seed)
    content = {
        "format": 1,
        "recipe": recipe.name,
        "version": recipe.version,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "folds_expected": folds_expected or recipe.folds.k,
        "warnings": _warnings(scores, facts, folds_expected or recipe.folds.k),
        "data": {
            "images": len(scores),
            "positives": int(target.sum()),
            "groups": int(scores.groups.max()) + 1,
            "prevalence": float(target.mean()),
        },
        "metrics": _metrics(measure, target, probability, crossfit),
        "selection": _selection(measure, scores, facts),
        "folds": [_fold(scores, f) for f in facts],
        "thresholds": [_operating_point(measure, threshold, target, probability)],
        "calibration": {
            "slope": calibration.slope,
            "intercept": calibration.intercept,
            "prevalence": calibration.prevalence,
            "prior_shift": {str(f["fold"]): f["prior_shift"] for f in facts},
        },
        "intervals": f"95 %, {recipe.evaluation.resamples} bootstrap resamples of groups",
        "digests": {
            key: facts[0][key] for key in ("recipe_digest", "folds_digest", "array_digest")
        },
        "versions": facts[0]["versions"],
        "device": facts[0]["device"],
        "precision": facts[0]["precision"],
        "pretrained": facts[0]["pretrained"],
    }
    return Report(content, calibration, threshold, target, probability, crossfit)


class _Measure:
    """Statistic -> Interval over this table's groups, every metric on the same resamples."""

    def __init__(self, scores: ScoreTable, recipe: Recipe, seed: int | None) -> None:
        self.groups, self.resamples = scores.groups, recipe.evaluation.resamples
        self.seed = recipe.seed if seed is None else seed

    def __call__(self, statistic: Statistic) -> dict[str, float | None]:
        return self.interval(statistic).as_dict()

    def interval(self, statistic: Statistic) -> Interval:
        rng = np.random.default_rng(self.seed)
        return bootstrap_interval(statistic, self.groups, resamples=self.resamples, rng=rng)


def _metrics(
    measure: _Measure, target: Integers, probability: Floats, crossfit: Floats
) -> dict[str, Any]:
    return {
        "auroc": measure(auroc(target, probability)),
        "pr_auc": measure(average_precision(target, probability)),
        "sensitivity_at_specificity_0.9": measure(
            sensitivity_at_specificity(0.9, target, probability)
        ),
        "brier": measure(brier_score(target, crossfit)),
        "log_loss": measure(log_loss(target, crossfit)),
        "ece": measure(expected_calibration_error(target, crossfit)),
    }


def _operating_point(
    measure: _Measure, threshold: Threshold, target: Integers, probability: Floats
) -> dict[str, Any]:
    value = threshold.value
    return {
        "at": threshold.at,
        "value": value,
        "sensitivity": measure(sensitivity_at(value, target, probability)),
        "specificity": measure(specificity_at(value, target, probability)),
        "ppv": measure(positive_predictive_value_at(value, target, probability)),
        "npv": measure(negative_predictive_value_at(value, target, probability)),
        "flagged": int((probability >= value).sum()),
    }


def _selection(measure: _Measure, scores: ScoreTable, facts: Sequence[Facts]) -> dict[str, Any]:
    """Best and last epoch side by side: the best one was picked by the fold that scores it."""
    target = scores.target
    return {
        "kept": facts[0]["kept"],
        **{
            which: {
                "auroc": measure(auroc(target, corrected_logits(scores, facts, f"logit_{which}")))
            }
            for which in ("best", "last")
        },
    }


def _fold(scores: ScoreTable, facts: Facts) -> dict[str, Any]:
    rows = scores.frame["fold"].to_numpy() == facts["fold"]
    target, logits = scores.target[rows], scores.logits()[rows]
    ones = np.ones((1, int(rows.sum())))
    return {
        "fold": facts["fold"],
        "images": int(rows.sum()),
        "positives": int(target.sum()),
        "auroc": float(auroc(target, logits)(ones)[0]),
        "pr_auc": float(average_precision(target, logits)(ones)[0]),
        "best_epoch": facts["best_epoch"],
        "last_epoch": facts["last_epoch"],
        "seconds": facts["seconds"],
    }


def _warnings(scores: ScoreTable, facts: Sequence[Facts], folds_expected: int) -> list[str]:
    found = [f"LEAK: {leak}" for leak in facts[0]["leaks"]]
    if len(facts) < folds_expected:
        found.append(f"{len(facts)} of {folds_expected} folds: the others were not trained")
    positives = int(scores.target.sum())
    if positives < 100:
        found.append(f"only {positives} positives: the intervals are wide")
    if facts[0]["kept"] == "best":
        found.append(
            "the kept epoch was picked by the AUROC of the fold that scores it; "
            "compare the last epoch under selection"
        )
    return found


def save_out_of_fold(
    report: Report, scores: ScoreTable, facts: Sequence[Facts], path: Path
) -> None:
    """oof.csv: every image's held-out score.

    `logit` has its fold's prior shift taken out, `prob` is the bundle's calibration of it (so both
    rank alike), `prob_crossfit` the calibration of the other folds (of the other half of the
    groups, where there is one fold); `logit_best` and `logit_last` are the two epochs', shift taken
    out.
    """
    columns = {
        name: corrected_logits(scores, facts, name)
        for name in ("logit", "logit_best", "logit_last")
    }
    frame = scores.frame[["image_name", "patient_id", "group", "target", "fold"]].assign(
        **columns, prob=report.probability, prob_crossfit=report.crossfit
    )
    # Every digit: two scores that differ must still differ in the file.
    write_text(path, frame.to_csv(index=False, float_format="%.17g", lineterminator="\n"))
