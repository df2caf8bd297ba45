"""The one builder of every report: of held-out images, of a test part, of an external set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from melanoma.evaluation.asked_prevalence import require_asked
from melanoma.evaluation.calibration import Calibration
from melanoma.evaluation.measure.lesions import lesion_figures
from melanoma.evaluation.measure.near_scores import measure_near_scores
from melanoma.evaluation.measure.operating_points import Threshold, describe_elsewhere
from melanoma.evaluation.measure.other_cancer import OtherCancer
from melanoma.evaluation.measure.performance import Performance, measure_performance
from melanoma.evaluation.measure.shortcut_baselines import shortcut_baselines
from melanoma.evaluation.measure.subgroups import COLUMNS, subgroups, with_reference
from melanoma.evaluation.report.schema import External, FoldHistory, ReportContent, Retargeted
from melanoma.evaluation.report.schema_parts import (
    CalibrationSummary,
    FoldLine,
    LeakAudit,
    Selection,
    Shortcuts,
    SubgroupLine,
)
from melanoma.evaluation.report.schema_points import PredictionSets
from melanoma.evaluation.report.schema_sources import SourceLine
from melanoma.evaluation.report.served_move import move_to
from melanoma.evaluation.report.summary import plain_summary
from melanoma.evaluation.report.warnings import find_caveats
from melanoma.evaluation.scored_images import ScoredImages
from melanoma.recipe.sections import ImageType
from melanoma.types import Floats


@dataclass(frozen=True)
class Origin:
    """What a report repeats of the model and of its training.

    `class_prevalence` and `prior_shift` are those of the folds' calibration; `phantoms` says that
    it was trained on drawings, `image_type` what its photographs must be taken with.
    """

    recipe: str
    version: int
    folds_expected: int
    leaks: LeakAudit
    digests: dict[str, str]
    versions: dict[str, str]
    device: str
    precision: str
    pretrained: Any
    class_prevalence: dict[str, float]
    prior_shift: dict[str, float | tuple[float, ...]]
    phantoms: bool = False
    image_type: ImageType = "any"
    study: dict[str, str] = field(default_factory=dict)
    sources: tuple[SourceLine, ...] = ()


@dataclass(frozen=True)
class HeldOut:
    """What only a report of folds has: their lines, the epochs, and the whole fold file."""

    folds: tuple[FoldLine, ...]
    selection: Selection
    history: tuple[FoldHistory, ...] = ()
    whole: pd.DataFrame | None = None


def assemble_report(
    images: ScoredImages,
    thresholds: Sequence[Threshold],
    calibration: Calibration,
    origin: Origin,
    *,
    uncalibrated: Floats,
    resamples: int,
    seed: int,
    by: Sequence[str] = (),
    held_out: HeldOut | None = None,
    external: External | None = None,
    other_cancer: OtherCancer | None = None,
    prediction_sets: PredictionSets | None = None,
) -> ReportContent:
    """Everything that is measured, with its warnings and its summary.

    `uncalibrated` (N, C) are the probabilities that the networks themselves would give; `by` names
    further columns for subgroups.
    """
    rules = {"resamples": resamples, "seed": seed}
    reached = measure_performance(
        images, thresholds, uncalibrated=uncalibrated, other_cancer=other_cancer, **rules
    )
    whole = held_out.whole if held_out else None
    content = ReportContent(
        recipe=origin.recipe,
        version=origin.version,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        phantoms=origin.phantoms,
        image_type=origin.image_type,
        summary="",
        classes=images.classes,
        melanoma=images.melanoma,
        folds_expected=origin.folds_expected,
        warnings=(),
        data=reached.data,
        sources=origin.sources,
        leaks=origin.leaks,
        metrics=reached.metrics,
        cross_checks=reached.cross_checks,
        selection=held_out.selection if held_out else None,
        folds=held_out.folds if held_out else (),
        history=held_out.history if held_out else (),
        thresholds=reached.thresholds,
        any_malignancy=reached.any_malignancy,
        prediction_sets=prediction_sets,
        near_scores=measure_near_scores(images),
        calibration=_describe_calibration(calibration, origin, reached),
        curves=reached.curves,
        operating_curve=reached.operating_curve,
        per_class=reached.per_class,
        confusion=reached.confusion,
        shortcuts=_shortcuts(images, whole, **rules) if images.melanoma else None,
        subgroups=measure_subgroups(images, thresholds, by, **rules) if images.melanoma else (),
        net_benefit=reached.net_benefit,
        lesions=lesion_figures(images, **rules),
        retargeted=None,
        largest_errors=reached.largest_errors,
        external=external,
        study=origin.study,
        intervals=f"95 %, {resamples} bootstrap resamples of groups",
        digests=origin.digests,
        versions=origin.versions,
        device=origin.device,
        precision=origin.precision,
        pretrained=origin.pretrained,
    )
    return with_words(content)


def retarget_report(content: ReportContent, prevalence: float) -> ReportContent:
    """A report that also says what its bundle gives where `prevalence` are melanomas.

    Nothing is measured again. Raises RecipeError where no class is melanoma, or for a share that
    no place has.
    """
    require_asked(prevalence)
    points = describe_elsewhere(content.thresholds, move_to(content, prevalence))
    retargeted = Retargeted(prevalence=prevalence, thresholds=points)
    return with_words(content.model_copy(update={"retargeted": retargeted, "bfloat16": None}))


def with_words(content: ReportContent) -> ReportContent:
    """The content with its warnings, and the summary that names the gravest."""
    warned = content.model_copy(update={"warnings": tuple(find_caveats(content))})
    return warned.model_copy(update={"summary": plain_summary(warned)})


def _describe_calibration(
    calibration: Calibration, origin: Origin, reached: Performance
) -> CalibrationSummary:
    return CalibrationSummary(
        method=calibration.method,
        slope=calibration.slope,
        intercept=calibration.intercept,
        prevalence=calibration.prevalence,
        class_prevalence=origin.class_prevalence,
        prior_shift=origin.prior_shift,
        before=reached.before,
        after=reached.after,
    )


def measure_subgroups(
    images: ScoredImages,
    thresholds: Sequence[Threshold],
    by: Sequence[str],
    *,
    resamples: int,
    seed: int,
) -> tuple[SubgroupLine, ...]:
    """The lines of every column that a report is broken down by, and of those named in `by`."""
    table = with_reference(images.table)
    lines = subgroups(
        table,
        images.positive,
        images.probability,
        thresholds[0].value,
        images.groups,
        crossfit=images.crossfit_probability,
        columns=(*(c for c in COLUMNS if c in table), *by),
        resamples=resamples,
        seed=seed,
    )
    return tuple(lines)


def _shortcuts(
    images: ScoredImages, whole: pd.DataFrame | None, *, resamples: int, seed: int
) -> Shortcuts:
    """Baselines learn from the `whole` fold file where not all of it was scored, and count a
    patient's images there."""
    frame, positive, probability = images.table, images.positive, images.probability
    if whole is not None and len(whole) > len(frame) and {"target", "group"} <= set(whole):
        scored = pd.Series(probability, index=frame["image_name"])
        probability = scored.reindex(whole["image_name"]).to_numpy().astype(np.float64)
        numbers = images.melanoma_columns
        frame, positive = whole, np.isin(whole["target"], numbers).astype(np.int64)
    return shortcut_baselines(
        frame,
        positive,
        frame["fold"].to_numpy(np.int64),
        pd.factorize(frame["group"])[0].astype(np.int64),
        model_probability=probability,
        resamples=resamples,
        seed=seed,
    )
