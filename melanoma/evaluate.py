"""python -m melanoma.evaluate: pool the out-of-fold scores, calibrate, report, seal the bundle."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from melanoma import terminal as t
from melanoma.errors import RecipeError, WeightsError
from melanoma.external import evaluate_external, evaluate_test, save_pictures
from melanoma.recipe import Recipe, differences, load_recipe

if TYPE_CHECKING:
    from melanoma.evaluation.report import Report
    from melanoma.training.run_folder import FoldRun

app = t.make_app()


@app.command()
def evaluate(
    config: t.Config = t.DEFAULT_CONFIG,
    data: t.DataDir = t.DEFAULT_DATA,
    arrays: t.Arrays = t.DEFAULT_ARRAYS,
    folds: t.FoldFile = None,
    weights: t.Weights = None,
    settings: t.Settings = None,
    seed: t.Seed = None,
    device: t.Device = "auto",
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Seal the folds that are trained, if not all.")
    ] = False,
    prevalence: Annotated[
        float | None,
        typer.Option("--prevalence", help="Share of melanomas where the bundle will be used."),
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option("--by", help="Further column of the fold file for subgroups; repeatable."),
    ] = None,
    external: Annotated[
        Path | None,
        typer.Option("--external", help="Recipe of an external test set (its folder: --data)."),
    ] = None,
    external_arrays: Annotated[
        Path | None,
        typer.Option("--external-arrays", help="Its arrays (default ARRAYS/external_NAME)."),
    ] = None,
    recalibrate: Annotated[
        Path | None,
        typer.Option("--recalibrate", help="External: seal a copy calibrated on it, here."),
    ] = None,
    pictures: Annotated[
        bool, typer.Option("--pictures", help="Also a contact sheet of the largest errors.")
    ] = False,
    names: Annotated[
        bool,
        typer.Option(
            "--names", help="Images' names in the report (which /report never gives), no digests."
        ),
    ] = False,
    json: t.AsJson = False,
) -> None:
    """Report on all folds' held-out images, and seal the bundle that predict and serve load.

    A test part of the fold file is scored once the bundle is sealed, and reported in WEIGHTS/test.
    With --external: report on another set with the sealed bundle, which stays as it is.
    """
    from melanoma.evaluation.lines import report_lines
    from melanoma.training.run_folder import read_recipe

    start = time.monotonic()
    test = None
    _check_options(prevalence, external, recalibrate)
    if external is not None and weights is not None:
        recipe = read_recipe(weights)  # the bundle's own, which names its fold file
    else:
        recipe = t.read_recipe_options(config, settings, None)
    folder = t.weights_folder(weights, recipe)
    fold_path = t.fold_file(folds, recipe)
    if external is None:
        report = evaluate_folds(
            recipe,
            folder,
            fold_path,
            allow_missing=allow_missing,
            seed=seed,
            prevalence=prevalence,
            by=tuple(by or ()),
            names=names,
        )
        test = evaluate_test(
            folder,
            fold_path,
            data,
            arrays,
            device=device,
            seed=seed,
            by=tuple(by or ()),
            names=names,
        )
        shown = arrays
    else:
        shown = external_arrays or arrays / f"external_{external.stem}"
        report, folder = evaluate_external(
            folder,
            load_recipe(external),
            data,
            arrays=shown,
            training=(fold_path, arrays),
            device=device,
            seed=seed,
            by=tuple(by or ()),
            recalibrate=recalibrate,
            names=names,
        )
    if pictures:
        save_pictures(report, folder, shown)
    if json:
        t.answer_json(report.content)
    else:
        for line in report_lines(report.content):
            t.answer(line)
        for line in report_lines(test.content) if test else ():
            t.answer(line)
    t.say(f"wrote report.html, report.json and the scores in {folder} in {t.duration(start)}")


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
) -> Report:
    """The report of the folds in `folder`, written there with oof.csv, figures and manifest.

    Its images stand there under digests of their names, unless `names` are asked for.
    """
    from melanoma.data.folds import load_folds
    from melanoma.evaluation.pseudonyms import without_names
    from melanoma.evaluation.report import build_report, save_out_of_fold
    from melanoma.evaluation.report_files import save_report
    from melanoma.evaluation.scores import concat_scores
    from melanoma.scoring.seal import seal_bundle
    from melanoma.scoring.staging import staging
    from melanoma.training.run_folder import hold

    table = load_folds(fold_path)
    runs = _finished_runs(folder, table.folds, allow_missing=allow_missing)
    if any(run.facts["folds_digest"] != table.digest for run in runs):
        raise WeightsError(
            f"{folder} was trained on other folds than {fold_path}; name its fold file with --folds"
        )
    recipe = _trained_recipe(recipe, runs)
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
    )
    if not names:
        report = replace(report, content=without_names(report.content))
    with hold(folder, needed=0), staging(folder) as stage:
        save_out_of_fold(report, scores, facts, stage / "oof.csv")
        save_report(report, recipe, stage)
        seal_bundle(folder, stage, recipe, runs, report)
    return report


def _check_options(
    prevalence: float | None, external: Path | None, recalibrate: Path | None
) -> None:
    if prevalence is not None and not 0 < prevalence < 1:
        raise RecipeError(f"--prevalence {prevalence}: a share between 0 and 1, such as 0.02")
    if recalibrate is not None and external is None:
        raise RecipeError("--recalibrate: only with --external, whose images it is fitted on")
    if prevalence is not None and external is not None:
        raise RecipeError("--prevalence: not with --external, whose own prevalence is measured")


def _finished_runs(folder: Path, numbers: list[int], *, allow_missing: bool) -> list[FoldRun]:
    """Every fold's run. Raises WeightsError for one that is absent or broken."""
    from melanoma.training.run_folder import fold_folder, load_run, read_facts

    runs = []
    for number in numbers:
        facts = read_facts(fold_folder(folder, number))
        if allow_missing and not (facts and facts["finished"]):
            continue
        runs.append(load_run(fold_folder(folder, number)))
    if not runs:
        raise WeightsError(f"no finished fold in {folder}; run python -m melanoma.train --fold all")
    return runs


def _trained_recipe(asked: Recipe, runs: list[FoldRun]) -> Recipe:
    """The recipe that the folds were trained by, with the thresholds and resamples asked for.

    The fold folders are the contract: what was trained is what is reported, and a command line
    that says otherwise is told so. Raises WeightsError when the folds differ among themselves.
    """
    from melanoma.training.run_folder import read_recipe

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
        t.say(
            f"note: reporting what was trained, not what the command line says ({'; '.join(told)})"
        )
    wanted = asked.evaluation.model_copy(update={"views": first.evaluation.views})
    return first.model_copy(update={"evaluation": wanted})


if __name__ == "__main__":
    t.run(app)
