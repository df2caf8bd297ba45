"""Report: what a run reached, from its ScoreTable, the fold file and its folds' facts alone."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import pandas as pd

from melanoma.evaluation.calibration import (
    Calibration,
    choose_method,
    crossfit_probabilities,
    fit_calibration,
    plain_probabilities,
)
from melanoma.evaluation.measure.operating_points import Threshold, choose_thresholds
from melanoma.evaluation.measure.other_cancer import choose_other_cancer
from melanoma.evaluation.measure.prediction_sets import measure_sets
from melanoma.evaluation.metrics.bootstrap import Statistic, bootstrap_intervals
from melanoma.evaluation.metrics.ranking import (
    auroc,
    average_precision,
    macro_auroc,
    macro_average_precision,
)
from melanoma.evaluation.report.assemble import (
    HeldOut,
    Origin,
    assemble_report,
    retarget_report,
)
from melanoma.evaluation.report.pooled_facts import pool_audits, pool_pretrained
from melanoma.evaluation.report.schema import FoldHistory, ReportContent
from melanoma.evaluation.report.schema_parts import (
    FoldLine,
    LeakAudit,
    SelectedEpoch,
    Selection,
)
from melanoma.evaluation.score_spread import require_differing_scores
from melanoma.evaluation.score_table import LOGITS, ScoreTable, logit_columns
from melanoma.evaluation.scored_images import ScoredImages
from melanoma.recipe.recipe import Recipe
from melanoma.storage import write_bytes
from melanoma.types import Floats, Integers


class FoldFacts(Protocol):
    """What a report says of a fold's run; melanoma.training.run.facts.RunFacts has it."""

    fold: int
    kept: Literal["best", "last"]
    best_epoch: int
    last_epoch: int
    seconds: float
    prior_shift: float | tuple[float, ...]
    audit: LeakAudit
    recipe_digest: str
    folds_digest: str
    array_digest: str
    versions: dict[str, str]
    device: str
    precision: str
    pretrained: Any


@dataclass(frozen=True)
class Report:
    """report.json's content, what the bundle takes from it, and the images."""

    content: ReportContent
    calibration: Calibration
    thresholds: tuple[Threshold, ...]
    images: ScoredImages


def corrected_logits(
    scores: ScoreTable, facts: Sequence[FoldFacts], column: str = "logit"
) -> Floats:
    """The table's logits with each fold's prior shift taken out, (N, outputs)."""
    shift = {f.fold: np.atleast_1d(np.asarray(f.prior_shift, np.float64)) for f in facts}
    return scores.logits(column) - np.stack([shift[fold] for fold in scores.frame["fold"]])


def build_report(
    recipe: Recipe,
    scores: ScoreTable,
    facts: Sequence[FoldFacts],
    *,
    table: pd.DataFrame | None = None,
    folds_expected: int | None = None,
    seed: int | None = None,
    prevalence: float | None = None,
    by: Sequence[str] = (),
    history: Sequence[FoldHistory] = (),
) -> Report:
    """Calibrate, choose the thresholds, and measure everything with intervals.

    `table` is the fold file's frame, for subgroups and the shortcut baseline. `prevalence` is
    where the bundle will be used, if not at the training set's; `by` names further columns for
    subgroups; `history` has the folds' epochs. Metrics of ranking and at thresholds use the
    bundle's probabilities; those of calibration use cross-fitted ones, since a fit on the same
    images flatters itself. Raises DivergedError where a fold's scores do not differ between images.
    """
    seed = recipe.seed if seed is None else seed
    resamples = recipe.evaluation.resamples
    images, calibration = _calibrate(recipe, scores, corrected_logits(scores, facts), table)
    thresholds = choose_thresholds(images, recipe.evaluation)
    other_cancer = choose_other_cancer(images, thresholds, recipe.evaluation)
    content = assemble_report(
        images,
        thresholds,
        calibration,
        _origin(recipe, calibration, facts, folds_expected=folds_expected or recipe.folds.k),
        uncalibrated=plain_probabilities(scores.logits()),
        by=by,
        held_out=HeldOut(
            folds=tuple(_fold(images, f) for f in facts),
            selection=_selection(images, scores, facts, resamples=resamples, seed=seed),
            history=tuple(history),
            whole=table,
        ),
        resamples=resamples,
        seed=seed,
        other_cancer=other_cancer,
        prediction_sets=measure_sets(
            images,
            thresholds,
            other_cancer,
            level=recipe.evaluation.set_level,
            resamples=resamples,
            seed=seed,
        ),
    )
    if prevalence is not None:
        content = retarget_report(content, prevalence)
    return Report(content, calibration, thresholds, images)


def _origin(
    recipe: Recipe, calibration: Calibration, facts: Sequence[FoldFacts], *, folds_expected: int
) -> Origin:
    first = facts[0]
    return Origin(
        recipe=recipe.name,
        version=recipe.version,
        folds_expected=folds_expected,
        leaks=pool_audits(facts),
        digests={
            "recipe_digest": first.recipe_digest,
            "folds_digest": first.folds_digest,
            "array_digest": first.array_digest,
        },
        versions=first.versions,
        device=first.device,
        precision=first.precision,
        pretrained=pool_pretrained(facts),
        class_prevalence=dict(zip(recipe.classes, calibration.class_prevalence, strict=True)),
        prior_shift={str(f.fold): f.prior_shift for f in facts},
        phantoms=recipe.data.phantoms,
        image_type=recipe.image_type,
        study=recipe.study.stated(),
    )


def _calibrate(
    recipe: Recipe, scores: ScoreTable, logits: Floats, table: pd.DataFrame | None
) -> tuple[ScoredImages, Calibration]:
    numbers = recipe.melanoma_columns
    folds = scores.frame["fold"].to_numpy(np.int64)
    require_differing_scores(logits, folds, recipe.classes)
    asked = recipe.evaluation.calibration
    held_out = (logits, scores.target, folds)
    method, crossfit = (
        choose_method(*held_out, groups=scores.groups, melanoma=numbers)
        if asked == "auto"
        else (asked, crossfit_probabilities(*held_out, groups=scores.groups, method=asked))
    )
    calibration = fit_calibration(logits, scores.target, method=method, melanoma=numbers)
    frame = scores.frame[["image_name", "patient_id", "group", "label", "target", "fold"]]
    if table is not None:
        more = table.drop(columns=[c for c in frame if c != "image_name"], errors="ignore")
        frame = frame.merge(more, on="image_name", how="left", validate="one_to_one")
    images = ScoredImages(
        frame,
        recipe.classes,
        recipe.melanoma,
        calibration.probabilities(logits),
        crossfit,
        calibration.class_prevalence,
        recipe.risk,
    )
    return images, calibration


def _selection(
    images: ScoredImages,
    scores: ScoreTable,
    facts: Sequence[FoldFacts],
    *,
    resamples: int,
    seed: int,
) -> Selection:
    """Best and last epoch side by side: the best one was picked by the fold that scores it.

    By the networks' own scores, for the bundle's calibration is fitted to one of the two alone. Its
    intercepts rank several classes otherwise, so that the report's AUROC is another number there.
    """
    statistics = {
        which: _ranking(images, corrected_logits(scores, facts, f"logit_{which}"))
        for which in ("best", "last")
    }
    intervals = bootstrap_intervals(
        statistics, images.groups, resamples=resamples, rng=np.random.default_rng(seed)
    )
    both = {which: SelectedEpoch(auroc=intervals[which].measured()) for which in statistics}
    return Selection(kept=facts[0].kept, **both)


def _ranking(images: ScoredImages, logits: Floats) -> Statistic:
    """AUROC of melanoma by uncalibrated logits; the classes' mean where none is melanoma."""
    if logits.shape[1] == 1:
        return auroc(images.target, logits[:, 0])
    probabilities = plain_probabilities(logits)
    if not images.melanoma:
        return macro_auroc(images.target, probabilities)
    columns = images.melanoma_columns
    return auroc(images.positive, probabilities[:, columns].sum(axis=1))


def _fold(images: ScoredImages, facts: FoldFacts) -> FoldLine:
    rows = (images.table["fold"] == facts.fold).to_numpy()
    ones = np.ones((1, int(rows.sum())))
    if images.melanoma:
        target, score = images.positive[rows], images.probability[rows]
        ranked, precise = auroc(target, score), average_precision(target, score)
    else:
        target, table = images.target[rows], images.by_class[rows]
        ranked, precise = macro_auroc(target, table), macro_average_precision(target, table)
    return FoldLine(
        fold=facts.fold,
        images=int(rows.sum()),
        positives=int(images.positive[rows].sum()) if images.melanoma else None,
        auroc=_defined(ranked(ones)),
        pr_auc=_defined(precise(ones)),
        best_epoch=facts.best_epoch,
        last_epoch=facts.last_epoch,
        seconds=facts.seconds,
    )


def _defined(values: Floats) -> float | None:
    return float(values[0]) if np.isfinite(values[0]) else None


def save_out_of_fold(
    report: Report, scores: ScoreTable, facts: Sequence[FoldFacts], path: Path
) -> None:
    """oof.csv: every image's held-out score, one row an image.

    `logit` has its fold's prior shift taken out, `logit_best` and `logit_last` are the two epochs'.
    `prob` is the melanoma probability by the bundle's calibration (so both rank alike) and
    `prob_crossfit` by the calibration of the other folds (of the other half of the groups, where
    there is one fold). With several outputs the logits and probabilities have a column a class,
    `logit_NAME` and `prob_NAME`, and `melanoma` is 1 where the class is one of the melanoma ones.
    `lesion_id` is there where the table names lesions.
    A path that ends in .gz is compressed.
    """
    images = report.images
    frame = images.table[["image_name", "patient_id", "group", "label", "target", "fold"]]
    if "lesion_id" in images.table and (images.table["lesion_id"].fillna("") != "").any():
        # What is measured within patients takes a lesion's photographs together.
        frame.insert(2, "lesion_id", images.table["lesion_id"].fillna(""))
    columns: dict[str, Floats | Integers] = {}
    if images.melanoma and not images.binary:
        columns["melanoma"] = images.positive
    for name in LOGITS:
        logits = corrected_logits(scores, facts, name)
        columns |= dict(zip(scores.columns(name), logits.T, strict=True))
    if not images.binary:
        for name, values in (("prob", images.by_class), ("prob_crossfit", images.crossfit)):
            columns |= dict(zip(logit_columns(name, images.classes), values.T, strict=True))
    if images.melanoma:
        columns |= {"prob": images.probability, "prob_crossfit": images.crossfit_probability}
    # At once: a frame that grows by hundreds of columns is one that pandas warns of.
    frame = pd.concat([frame, pd.DataFrame(columns, frame.index)], axis=1)
    # Every digit: two scores that differ must still differ in the file.
    data = frame.to_csv(index=False, float_format="%.17g", lineterminator="\n").encode()
    write_bytes(path, gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
