"""From finished folds to a report and a sealed bundle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from melanoma.data.find_array import find_array, require_same_files
from melanoma.data.folds import label_folds, load_folds
from melanoma.data.readers.table import LesionTable
from melanoma.errors import DataError, WeightsError
from melanoma.evaluation.render.figures import remove_stale
from melanoma.evaluation.render.files import save_report
from melanoma.evaluation.report.build import Report, build_report, save_out_of_fold
from melanoma.evaluation.report.pseudonyms import without_names
from melanoma.evaluation.score_table import concat_scores
from melanoma.recipe.recipe import Recipe, differences
from melanoma.scoring.bundle.seal import seal_bundle
from melanoma.scoring.bundle.staging import staging
from melanoma.training.run.facts import read_facts
from melanoma.training.run.folder import FoldRun, fold_folder, hold, load_run, read_recipe
from melanoma.training.run.history import read_histories
from melanoma.workflows.source import require_same_source
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
    watch: Watch = SILENT,
) -> Report:
    """The report of the folds in `folder`, written there with oof.csv, figures and manifest.

    Its images stand there under digests of their names, unless `names` are asked for. Raises
    FoldError where the table that the folds were made from (in `data`, or where it lay then) has
    changed since, DataError where image files of the array in `arrays` have, if it is the one that
    the folds were trained on.
    """
    table = load_folds(fold_path)
    runs = _finished_runs(folder, table.folds, allow_missing=allow_missing)
    if any(run.facts.folds_digest != table.digest for run in runs):
        raise WeightsError(
            f"{folder} was trained on other folds than {fold_path}; name its fold file with --folds"
        )
    recipe = _trained_recipe(recipe, runs, watch=watch)
    labeled = label_folds(table, recipe.classes, origin=str(fold_path))
    source = require_same_source(recipe, labeled, fold_path, data, watch=watch)
    if source is not None and arrays is not None:
        _require_same_images(source, recipe, arrays, runs, watch=watch)
    trained = table.frame["fold"].isin([run.fold for run in runs])
    held_out = table.frame["image_name"][trained].tolist()
    scores = concat_scores([run.scores for run in runs], held_out)
    facts = [run.facts for run in runs]
    report = build_report(
        recipe,
        scores,
        facts,
        table=table.frame,
        folds_expected=len(table.folds),
        seed=seed,
        prevalence=prevalence,
        by=by,
        history=read_histories(run.folder for run in runs),
    )
    if not names:
        report = replace(report, content=without_names(report.content))
    with hold(folder, needed=0), staging(folder) as stage:
        save_out_of_fold(report, scores, facts, stage / "oof.csv")
        figures = save_report(report, recipe, stage)
        seal_bundle(folder, stage, recipe, runs, report)
        remove_stale(folder / "figures", [path.name for path in figures])
    return report


def _require_same_images(
    table: LesionTable, recipe: Recipe, arrays: Path, runs: list[FoldRun], *, watch: Watch
) -> None:
    """Raise DataError where photographs were replaced since the runs' array was made from them.

    Another array than theirs, or none, tells nothing of them.
    """
    try:
        array = find_array(arrays, recipe.image, data=table.folder, say=watch.say, amend=False)
    except DataError as error:
        watch.say(f"note: the image files are not compared with the array ({error})")
        return
    if array is not None and array.digest == runs[0].facts.array_digest:
        require_same_files(array, table, arrays, say=watch.say)


def _finished_runs(folder: Path, numbers: list[int], *, allow_missing: bool) -> list[FoldRun]:
    """Every fold's run. Raises WeightsError for one that is absent or broken."""
    runs = []
    for number in numbers:
        facts = read_facts(fold_folder(folder, number))
        if allow_missing and not (facts and facts.finished):
            continue
        runs.append(load_run(fold_folder(folder, number)))
    if not runs:
        raise WeightsError(f"no finished fold in {folder}; run python -m melanoma.train --fold all")
    return runs


def _trained_recipe(asked: Recipe, runs: list[FoldRun], *, watch: Watch) -> Recipe:
    """The recipe that the folds were trained by, with the evaluation and the risks asked for.

    The fold folders are the contract: what was trained is what is reported, and a command line
    that says otherwise is told so. Raises WeightsError when the folds differ among themselves.
    """
    recipes = [read_recipe(run.folder) for run in runs]
    first = recipes[0]
    for run, recipe in zip(runs, recipes, strict=True):
        found = differences(recipe.identity(), first.identity())
        if found:
            raise WeightsError(
                f"{run.folder} and {runs[0].folder} were trained by different recipes "
                f"({'; '.join(found)}); train one of them again with --resume never"
            )
    told = differences(first.identity(), asked.identity())
    if told:
        watch.say(
            f"note: reporting what was trained, not what the command line says ({'; '.join(told)})"
        )
    wanted = asked.evaluation.model_copy(update={"views": first.evaluation.views})
    return first.model_copy(update={"evaluation": wanted, "risk": asked.risk})
