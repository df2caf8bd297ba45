"""From finished folds to a report and a sealed bundle."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from melanoma.devices import Device
from melanoma.evaluation.measure.subgroups import require_reported, with_reference
from melanoma.evaluation.render.figures import remove_stale
from melanoma.evaluation.render.report_files import save_report
from melanoma.evaluation.report.assemble import with_words
from melanoma.evaluation.report.build import Report, build_report, save_out_of_fold
from melanoma.evaluation.report.pooled_facts import pool_sources
from melanoma.evaluation.report.pseudonyms import without_names
from melanoma.evaluation.report.schema import ExternalResult
from melanoma.recipe.recipe import Recipe
from melanoma.scoring.bundle.seal import lay_report, seal_bundle
from melanoma.scoring.bundle.staging import MANIFEST, staging
from melanoma.scoring.files.score_rows import plain_table
from melanoma.scoring.novelty import Novelty
from melanoma.scoring.patient_report import add_context
from melanoma.storage import write_text
from melanoma.training.run.history import read_histories
from melanoma.training.run.run_folder import hold
from melanoma.workflows.finished import FinishedFolds, finished_folds, require_same_images
from melanoma.workflows.fit_novelty import fit_run_novelty
from melanoma.workflows.held_out_sources import (
    SOURCES,
    HeldOutScores,
    score_held_out_sources,
    with_held_out,
)
from melanoma.workflows.image_flow import count_flow
from melanoma.workflows.learn_quality import add_quality
from melanoma.workflows.left_out import left_out_results
from melanoma.workflows.measure_bfloat16 import attach_bfloat16, require_measurable
from melanoma.workflows.watch import SILENT, Watch


def evaluate_folds(
    recipe: Recipe,
    folder: Path,
    fold_path: Path,
    *,
    allow_missing: bool = False,
    seed: int | None = None,
    prevalence: float | None = None,
    by: tuple[str, ...] = (),
    names: bool = False,
    data: Path | None = None,
    arrays: Path | None = None,
    left_out: Sequence[Path] = (),
    bfloat16: Device | None = None,
    watch: Watch = SILENT,
) -> Report:
    """The report of the folds in `folder`, written there with oof.csv, figures and manifest.

    `left_out` are runs of the same training without one source, whose results elsewhere it repeats.
    `bfloat16` is the device on which to measure what scoring in it changes, None not to.
    Its images stand there under digests of their names, unless `names` are asked for. Raises
    FoldError where the table that the folds were made from (in `data`, or where it lay then) has
    changed since, DataError where image files of the array in `arrays` have, if it is the one that
    the folds were trained on.
    """
    if bfloat16 is not None:
        require_measurable(recipe, bfloat16)
    trained = finished_folds(recipe, folder, fold_path, allow_missing=allow_missing, watch=watch)
    require_reported(by, with_reference(trained.table.frame))
    # Before hours of scoring: a wrong folder is known at once.
    without_sources = left_out_results(trained.recipe, left_out, ours=trained.facts[0])
    identified = require_same_images(trained, data, arrays, watch=watch)
    report = build_report(
        trained.recipe,
        trained.scores,
        trained.facts,
        table=trained.table.frame,
        folds_expected=len(trained.table.folds),
        seed=seed,
        prevalence=prevalence,
        by=by,
        history=read_histories(run.folder for run in trained.runs),
    )
    alone = trained.recipe.model.embeddings is not None
    novelty = None if alone else fit_run_novelty(trained, arrays, seed=seed, watch=watch)
    rules = trained.recipe.evaluation
    chosen = trained.recipe.seed if seed is None else seed
    beside = (
        [] if alone else score_held_out_sources(trained, report, identified, arrays, watch=watch)
    )
    sources = pool_sources(trained.facts)
    more = {
        "flow": count_flow(trained),
        "novelty": novelty.summary if novelty else None,
        "sources": with_held_out(sources, beside, report, resamples=rules.resamples, seed=chosen),
        "external_results": without_sources,
    }
    report = replace(report, content=report.content.model_copy(update=more))
    report = add_context(report, resamples=rules.resamples, seed=chosen)
    if not names:
        report = replace(report, content=without_names(report.content))
    content = add_quality(report.content, trained, arrays, watch=watch)
    report = replace(report, content=with_words(content))  # of what both turn away, too
    tell_dropped_results(folder, watch, report.content.external_results)
    if bfloat16 is None:
        tell_dropped_rounding(folder, watch)
    if alone:
        watch.say(
            "note: no bundle is sealed: photographs cannot be scored without the model of the "
            "embeddings"
        )
    _seal(trained, report, novelty.novelty if novelty else None, beside)
    if bfloat16 is not None:
        measured = attach_bfloat16(trained, arrays, device=bfloat16, watch=watch)
        report = replace(report, content=measured)
    return report


def tell_dropped_results(folder: Path, watch: Watch, kept: Sequence[ExternalResult] = ()) -> None:
    """Warn of results elsewhere that the bundle had and will have no more: they were measured with
    its earlier calibration and thresholds, or of another run that is not named any more; those
    that are `kept` are there again."""
    again = {(result.name, result.without or "") for result in kept}
    try:
        had = json.loads((folder / MANIFEST).read_text()).get("external", [])
        lost = {(str(one["name"]), str(one.get("without") or "")) for one in had} - again
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return  # nothing was sealed here
    own = sorted(name for name, without in lost if not without)
    others = sorted(name for name, without in lost if without)
    if own:
        watch.say(
            f"warning: the results elsewhere that were sealed into {folder} ({', '.join(own)}) "
            "are dropped, as they were measured with the bundle from before; measure each again "
            "with --external RECIPE --attach"
        )
    if others:
        watch.say(
            f"warning: the results elsewhere of the same training without a source, as they were "
            f"sealed into {folder} ({', '.join(others)}), are dropped; name their runs with "
            "--left-out to repeat them"
        )


def tell_dropped_rounding(folder: Path, watch: Watch) -> None:
    """Warn of what bfloat16 changes where that was measured of the bundle from before."""
    try:
        had = json.loads((folder / "report.json").read_text()).get("bfloat16")
    except (OSError, ValueError, AttributeError):
        return  # nothing was reported here
    if had:
        watch.say(
            "warning: what bfloat16 changes is dropped, as it was measured with the bundle from "
            "before; --bfloat16 measures it again"
        )


def _seal(
    trained: FinishedFolds,
    report: Report,
    novelty: Novelty | None,
    beside: Sequence[HeldOutScores],
) -> None:
    """Write the report, its figures, oof.csv, the scores of sources and the manifest into the run's
    folder, at once."""
    folder = trained.folder
    with hold(folder, needed=0), staging(folder) as stage:
        save_out_of_fold(report, trained.scores, trained.facts, stage / "oof.csv")
        for one in beside:
            text = plain_table(one.rows).to_csv(index=False, float_format="%.17g")
            write_text(stage / SOURCES / f"{one.name}.csv", text)
        figures = save_report(report, trained.recipe, stage)
        if trained.recipe.model.embeddings is None:
            seal_bundle(folder, stage, trained.recipe, trained.runs, report, novelty)
        else:
            lay_report(folder, stage, trained.recipe, report)
        remove_stale(folder / "figures", [path.name for path in figures])
        for path in (folder / SOURCES).glob("*.csv"):  # of an earlier report
            if path.stem not in {one.name for one in beside}:
                path.unlink()
