"""A report as lines for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from melanoma.evaluation.disclaimer import DISCLAIMER
from melanoma.evaluation.metrics.metric_catalog import METRICS
from melanoma.evaluation.number_format import percent, prevalence
from melanoma.evaluation.report.rounding_words import describe_rounding
from melanoma.evaluation.report.schema import ExternalResult, ReportContent
from melanoma.evaluation.report.schema_parts import Measured
from melanoma.evaluation.report.schema_points import NoveltyLine
from melanoma.evaluation.report.source_words import describe_held_out_source, describe_source_line


def report_lines(content: ReportContent) -> list[str]:
    """What a person must see, in order: warnings, what was scored, folds, metrics, thresholds."""
    return [
        *(f"warning: {warning}" for warning in content.warnings),
        _scored(content),
        *(f"trained beside it: {describe_source_line(line)}" for line in content.sources),
        *(
            f"held out of it: {describe_held_out_source(line)}"
            for line in content.sources
            if line.held_out
        ),
        *_folds(content),
        *_selection(content),
        *_metrics(content),
        *_shortcuts(content),
        *_thresholds(content),
        *_other_cancers(content),
        *_novelty(content),
        *_sets(content),
        *_bfloat16(content),
        *_elsewhere(content),
        *external_lines(content.external_results),
        *_external(content),
        _refers(content),
    ]


def _refers(content: ReportContent) -> str:
    """What the probabilities refer to, and what none of this is."""
    calibration, moved = content.calibration, content.retargeted or content.recalibrated
    share = moved.prevalence if moved else calibration.prevalence
    where = ""
    if share is not None:
        where = f", for a place where {prevalence(share)} of the images are melanomas"
    helps = content.recalibrated is not None or calibration.helps
    return f"probabilities are {'' if helps else 'not '}calibrated{where}; {DISCLAIMER}"


def spoken(metric: Measured) -> str:
    """0.865 (95 % 0.843 to 0.886), or undefined."""
    if metric.value is None:
        return "undefined"
    ends = "" if metric.low is None else f" (95 % {metric.low:.3f} to {metric.high:.3f})"
    return f"{metric.value:.3f}{ends}"


def _scored(content: ReportContent) -> str:
    data = content.data
    melanomas = (
        "" if data.positives is None else f"{data.positives:,} melanomas ({data.prevalence:.1%}), "
    )
    folds = f", {len(content.folds)} folds" if content.folds else ""
    where = f" on {content.external.recipe}" if content.external else ""
    return (
        f"{content.recipe}{where}: {data.images:,} images, {melanomas}{data.groups:,} groups{folds}"
    )


def _folds(content: ReportContent) -> list[str]:
    if not content.folds:
        return []
    lines = ["fold  images  melanomas  AUROC   PR-AUC  best/last epoch"]
    for fold in content.folds:
        positives = "-" if fold.positives is None else fold.positives
        lines.append(
            f"{fold.fold:>4}  {fold.images:>6}  {positives:>9}  {_four(fold.auroc)}  "
            f"{_four(fold.pr_auc)}  {fold.best_epoch}/{fold.last_epoch}"
        )
    return lines


def _four(value: float | None) -> str:
    return "     -" if value is None else f"{value:.4f}"


def _selection(content: ReportContent) -> list[str]:
    selection = content.selection
    if not selection:
        return []
    # One number with two classes: there the calibration leaves the ranking as it is.
    scaled = content.calibration.method != "identity"
    raw = " by uncalibrated scores" if scaled and len(content.classes) > 2 else ""
    lines = [
        f"AUROC of the {which} epochs{' (kept)' if selection.kept == which else ''}{raw}: "
        f"{spoken(getattr(selection, which).auroc)}"
        for which in ("best", "last")
    ]
    if raw:
        lines.append(
            "  (what follows is by calibrated probabilities; their intercepts, one a class, "
            "rank images a little otherwise)"
        )
    return lines


def _metrics(content: ReportContent) -> list[str]:
    figures = [
        f"{spec.short} {spoken(content.metrics[name])}"
        for name, spec in METRICS.items()
        if spec.terminal and name in content.metrics
    ]
    return [f"{_scores(content)} {figures[0]}", *(f"  {line}" for line in figures[1:])]


def _scores(content: ReportContent) -> str:
    if not content.external:
        return "pooled out-of-fold"
    return "test" if content.external.test_part else "external"


def _shortcuts(content: ReportContent) -> list[str]:
    if not content.shortcuts:
        return []
    return [
        f"without the photograph: {line.name} AUROC {spoken(line.auroc)}"
        for line in content.shortcuts.lines
    ]


def _thresholds(content: ReportContent) -> list[str]:
    return [
        f"threshold {point.value:.4f} at {point.at}: sensitivity "
        f"{spoken(point.sensitivity)}, specificity {spoken(point.specificity)}"
        + (
            f"; chosen on the other folds {spoken(point.crossfit_sensitivity)}, "
            f"{spoken(point.crossfit_specificity)}"
            if point.crossfit_sensitivity and point.crossfit_specificity
            else ""
        )
        for point in content.thresholds
    ]


def _other_cancers(content: ReportContent) -> list[str]:
    malignancy = content.any_malignancy
    if malignancy is None:
        return []
    return [
        f"other cancers told of from {malignancy.value:.4f} ({malignancy.at}): any malignancy with "
        f"sensitivity {spoken(malignancy.sensitivity)}, "
        f"specificity {spoken(malignancy.specificity)}; by "
        f"melanoma's threshold alone {spoken(malignancy.sensitivity_alone)}, "
        f"{spoken(malignancy.specificity_alone)}"
    ]


def _sets(content: ReportContent) -> list[str]:
    sets = content.prediction_sets
    if sets is None:
        return []
    by_class = ", ".join(
        f"{line.name} {percent(line.coverage.value)}" for line in sets.by_class if line.images
    )
    return [
        f"sets of possible classes at {percent(sets.level, 0)} hold the true one with "
        f"{spoken(sets.overall.coverage)}, {sets.overall.mean_size:.2f} classes a set ({by_class})"
    ]


def _novelty(content: ReportContent) -> list[str]:
    novelty = content.novelty
    if novelty is None:
        return []
    melanomas = [line for line in novelty.by_class if line.name in content.melanoma]
    lines = [
        f"novelty: pictures from {novelty.threshold:.2f} on are unscorable, "
        f"{percent(novelty.share, 0)} of the held-out lesions "
        f"({_novel(melanomas or novelty.by_class)})"
    ]
    if novelty.others:
        lines.append(f"of pictures of other things: {_novel(novelty.others)}")
    if novelty.elsewhere:
        lines.append(f"of photographs from elsewhere: {_novel(novelty.elsewhere)}")
    return lines


def _bfloat16(content: ReportContent) -> list[str]:
    return [f"in bfloat16, {describe_rounding(content.bfloat16)}"] if content.bfloat16 else []


def _novel(lines: Sequence[NoveltyLine]) -> str:
    return ", ".join(f"{line.name} {line.novel} of {line.images}" for line in lines)


def _elsewhere(content: ReportContent) -> list[str]:
    elsewhere = content.retargeted or content.recalibrated
    if not elsewhere or not elsewhere.thresholds:
        return []
    point = elsewhere.thresholds[0]
    mark = format(point.value, ".4f" if point.value >= 0.01 else ".2g")
    return [
        f"at a prevalence of {prevalence(elsewhere.prevalence)} the bundle's threshold is "
        f"{mark}: it flags {point.flagged_share:.1%}, of which "
        f"{'none' if point.ppv is None else format(point.ppv, '.1%')} are melanomas"
    ]


def external_lines(results: Sequence[ExternalResult]) -> list[str]:
    """A line for each set that the finished model was scored on."""
    return [
        f"elsewhere, {result.source or result.name} ({result.images:,} images, {result.date}): "
        f"AUROC {spoken(result.auroc)}"
        + (
            f"; at its threshold sensitivity {spoken(result.sensitivity)}, specificity "
            f"{spoken(result.specificity)}"
            if result.at
            else ""
        )
        for result in results
    ]


def _external(content: ReportContent) -> list[str]:
    external = content.external
    # A test part that something is fitted on is none any more.
    if not external or not external.recalibration or external.test_part:
        return []
    fit = external.recalibration
    return [
        f"recalibrated on these images the Brier score would be {fit['brier_recalibrated']:.4f} "
        f"instead of {fit['brier_as_sealed']:.4f}; nothing was changed "
        "(--recalibrate DIR seals a copy that is)"
    ]
