"""Report: what a run reached, from its ScoreTable, the fold file and its folds' facts alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from melanoma.errors import RecipeError
from melanoma.evaluation.calibration import Calibration, crossfit_probabilities, fit_calibration
from melanoma.evaluation.measure.operating_points import (
    Threshold,
    choose_thresholds,
    describe_elsewhere,
)
from melanoma.evaluation.measure.patient_tables import measure_patients
from melanoma.evaluation.measure.performance import measure_performance
from melanoma.evaluation.metrics.bootstrap import Statistic, bootstrap_intervals
from melanoma.evaluation.metrics.catalog import (
    auroc,
    average_precision,
    macro_auroc,
    macro_average_precision,
)
from melanoma.evaluation.report.schema import FORMAT, validate_report
from melanoma.evaluation.report.summary import plain_summary
from melanoma.evaluation.report.warnings import find_caveats
from melanoma.evaluation.score_table import LOGITS, ScoreTable, logit_columns
from melanoma.evaluation.scored_images import ScoredImages, by_class, plain_probabilities
from melanoma.recipe.recipe import Recipe
from melanoma.storage import write_text
from melanoma.types import Floats

Facts = dict[str, Any]


@dataclass(frozen=True)
class Report:
    """The numbers (`content` is report.json), what the bundle takes from it, and the images."""

    content: dict[str, Any]
    calibration: Calibration
    thresholds: tuple[Threshold, ...]
    images: ScoredImages


def corrected_logits(scores: ScoreTable, facts: Sequence[Facts], column: str = "logit") -> Floats:
    """The table's logits with each fold's prior shift taken out: (N,), or (N, C)."""
    shift = {int(f["fold"]): np.asarray(f["prior_shift"], np.float64) for f in facts}
    return scores.logits(column) - np.stack([shift[fold] for fold in scores.frame["fold"]])


def build_report(
    recipe: Recipe,
    scores: ScoreTable,
    facts: Sequence[Facts],
    *,
    table: pd.DataFrame | None = None,
    folds_expected: int | None = None,
    seed: int | None = None,
    prevalence: float | None = None,
    by: Sequence[str] = (),
) -> Report:
    """Calibrate, choose the thresholds, and measure everything with intervals.

    `table` is the fold file's frame, for subgroups and the shortcut baseline. `prevalence` is
    where the bundle will be used, if not at the training set's; `by` names further columns for
    subgroups. Metrics of ranking and at thresholds use the bundle's probabilities; those of
    calibration use cross-fitted ones, since a fit on the same images flatters itself.
    """
    seed = recipe.seed if seed is None else seed
    logits = corrected_logits(scores, facts)
    images, calibration = _calibrate(recipe, scores, logits, table)
    thresholds = choose_thresholds(images, recipe.evaluation)
    rules = {"resamples": recipe.evaluation.resamples, "seed": seed}
    uncalibrated = plain_probabilities(scores.logits())
    content = measure_performance(images, thresholds, uncalibrated=uncalibrated, **rules)
    content["calibration"] |= {
        **_describe_calibration(calibration, recipe.classes),
        "prior_shift": {str(f["fold"]): f["prior_shift"] for f in facts},
    }
    content |= {
        **measure_patients(images, thresholds, whole=table, by=by, **rules),
        "selection": _selection(images, scores, facts, **rules),
        "folds": [_fold(images, f) for f in facts],
        "external": None,
        **_describe_run(recipe, facts, folds_expected=folds_expected or recipe.folds.k),
    }
    content["retargeted"] = _retargeted(content, prevalence)
    return Report(complete_report(content), calibration, thresholds, images)


def complete_report(content: dict[str, Any]) -> dict[str, Any]:
    """`content` with its warnings and summary, validated, as plain JSON values."""
    content = {**content, "format": FORMAT, "summary": ""}
    content["created"] = datetime.now(UTC).isoformat(timespec="seconds")
    content["warnings"] = find_caveats(content)
    content["summary"] = plain_summary(validate_report(content))
    plain: dict[str, Any] = validate_report(content).model_dump(mode="json")
    return plain


def retarget_report(content: dict[str, Any], prevalence: float) -> dict[str, Any]:
    """A finished report that also says what its bundle gives where `prevalence` are melanomas.

    Nothing is measured again. Raises RecipeError where no class is melanoma, or the share is not
    between 0 and 1.
    """
    retargeted = _retargeted(content, prevalence)
    return {
        **complete_report({**content, "retargeted": retargeted}),
        "created": content["created"],
    }


def _calibrate(
    recipe: Recipe, scores: ScoreTable, logits: Floats, table: pd.DataFrame | None
) -> tuple[ScoredImages, Calibration]:
    method = recipe.evaluation.calibration
    numbers = [recipe.classes.index(name) for name in recipe.melanoma]
    calibration = fit_calibration(logits, scores.target, method=method, melanoma=numbers)
    folds = scores.frame["fold"].to_numpy(np.int64)
    crossfit = crossfit_probabilities(
        logits, scores.target, folds, groups=scores.groups, method=method
    )
    frame = scores.frame[["image_name", "patient_id", "group", "label", "target", "fold"]]
    if table is not None:
        more = table.drop(columns=[c for c in frame if c != "image_name"], errors="ignore")
        frame = frame.merge(more, on="image_name", how="left", validate="one_to_one")
    images = ScoredImages(
        frame,
        recipe.classes,
        recipe.melanoma,
        by_class(calibration.probabilities(logits)),
        by_class(crossfit),
        calibration.class_prevalence,
    )
    return images, calibration


def _describe_calibration(calibration: Calibration, classes: Sequence[str]) -> dict[str, Any]:
    shares = dict(zip(classes, calibration.class_prevalence, strict=True))
    return {**asdict(calibration), "class_prevalence": shares}


def _selection(
    images: ScoredImages,
    scores: ScoreTable,
    facts: Sequence[Facts],
    *,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Best and last epoch side by side: the best one was picked by the fold that scores it."""
    statistics = {
        which: _ranking(images, corrected_logits(scores, facts, f"logit_{which}"))
        for which in ("best", "last")
    }
    found = bootstrap_intervals(
        statistics, images.groups, resamples=resamples, rng=np.random.default_rng(seed)
    )
    both = {which: {"auroc": found[which].as_dict()} for which in statistics}
    return {"kept": facts[0]["kept"], **both}


def _ranking(images: ScoredImages, logits: Floats) -> Statistic:
    """AUROC of melanoma by uncalibrated logits; the classes' mean where none is melanoma."""
    if logits.ndim == 1:
        return auroc(images.target, logits)
    probabilities = plain_probabilities(logits)
    if not images.melanoma:
        return macro_auroc(images.target, probabilities)
    columns = [images.classes.index(name) for name in images.melanoma]
    return auroc(images.positive, probabilities[:, columns].sum(axis=1))


def _fold(images: ScoredImages, facts: Facts) -> dict[str, Any]:
    rows = (images.table["fold"] == facts["fold"]).to_numpy()
    ones = np.ones((1, int(rows.sum())))
    if images.melanoma:
        target, score = images.positive[rows], images.probability[rows]
        ranked, precise = auroc(target, score), average_precision(target, score)
    else:
        target, table = images.target[rows], images.by_class[rows]
        ranked, precise = macro_auroc(target, table), macro_average_precision(target, table)
    return {
        "fold": facts["fold"],
        "images": int(rows.sum()),
        "positives": int(images.positive[rows].sum()) if images.melanoma else None,
        "auroc": _defined(ranked(ones)),
        "pr_auc": _defined(precise(ones)),
        **{key: facts[key] for key in ("best_epoch", "last_epoch", "seconds")},
    }


def _defined(values: Floats) -> float | None:
    return float(values[0]) if np.isfinite(values[0]) else None


def _retargeted(content: Mapping[str, Any], prevalence: float | None) -> dict[str, Any] | None:
    trained = content["data"]["prevalence"]
    if prevalence is None:
        return None
    if trained is None:
        raise RecipeError("--prevalence: the recipe names no melanoma class")
    points = describe_elsewhere(content["thresholds"], trained=trained, wanted=prevalence)
    return {"prevalence": prevalence, "thresholds": points}


def _describe_run(recipe: Recipe, facts: Sequence[Facts], *, folds_expected: int) -> dict[str, Any]:
    first = facts[0]
    return {
        "recipe": recipe.name,
        "version": recipe.version,
        "classes": recipe.classes,
        "melanoma": recipe.melanoma,
        "folds_expected": folds_expected,
        "leaks": first["audit"],
        "intervals": f"95 %, {recipe.evaluation.resamples} bootstrap resamples of groups",
        "digests": {key: first[key] for key in ("recipe_digest", "folds_digest", "array_digest")},
        **{key: first[key] for key in ("versions", "device", "precision", "pretrained")},
    }


def save_out_of_fold(
    report: Report, scores: ScoreTable, facts: Sequence[Facts], path: Path
) -> None:
    """oof.csv: every image's held-out score, one row an image.

    `logit` has its fold's prior shift taken out, `logit_best` and `logit_last` are the two epochs'.
    `prob` is the melanoma probability by the bundle's calibration (so both rank alike) and
    `prob_crossfit` by the calibration of the other folds (of the other half of the groups, where
    there is one fold). With several outputs the logits and probabilities have a column a class,
    `logit_NAME` and `prob_NAME`, and `melanoma` is 1 where the class is one of the melanoma ones.
    """
    images = report.images
    frame = images.table[["image_name", "patient_id", "group", "label", "target", "fold"]].copy()
    if images.melanoma and not images.binary:
        frame["melanoma"] = images.positive
    for name in LOGITS:
        values = corrected_logits(scores, facts, name)
        columns = [name] if values.ndim == 1 else logit_columns(name, images.classes)
        frame[columns] = values.reshape(len(values), -1)
    if not images.binary:
        frame[[f"prob_{name}" for name in images.classes]] = images.by_class
        frame[[f"prob_crossfit_{name}" for name in images.classes]] = images.crossfit
    if images.melanoma:
        frame["prob"], frame["prob_crossfit"] = images.probability, images.crossfit_probability
    # Every digit: two scores that differ must still differ in the file.
    write_text(path, frame.to_csv(index=False, float_format="%.17g", lineterminator="\n"))
