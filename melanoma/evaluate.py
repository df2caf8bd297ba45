"""python -m melanoma.evaluate: pool the out-of-fold scores, calibrate, report, seal the bundle."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from melanoma import terminal as t
from melanoma.errors import WeightsError
from melanoma.recipe import Recipe, differences

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
    json: t.AsJson = False,
) -> None:
    """Report on all folds' held-out images, and seal the bundle that predict and serve load."""
    # The scores are in the fold folders: neither images nor a device are needed here.
    del data, arrays, device
    start = time.monotonic()
    recipe = t.read_recipe_options(config, settings, None)
    folder = t.weights_folder(weights, recipe)
    report = evaluate_folds(
        recipe, folder, t.fold_file(folds, recipe), allow_missing=allow_missing, seed=seed
    )
    if json:
        t.answer_json(report.content)
    else:
        _say_report(report)
    t.say(
        f"wrote report.json, oof.csv, figures/ and manifest.json in {folder} in {t.duration(start)}"
    )


def evaluate_folds(
    recipe: Recipe,
    folder: Path,
    fold_path: Path,
    *,
    allow_missing: bool = False,
    seed: int | None = None,
) -> Report:
    """The report of the folds in `folder`, written there with oof.csv, figures and manifest."""
    from melanoma.data.folds import load_folds
    from melanoma.evaluation.figures import save_figures
    from melanoma.evaluation.report import build_report, save_out_of_fold
    from melanoma.evaluation.scores import concat_scores
    from melanoma.scoring.bundle import seal_bundle

    table = load_folds(fold_path)
    runs = _finished_runs(folder, table.folds, allow_missing=allow_missing)
    if any(run.facts["folds_digest"] != table.digest for run in runs):
        raise WeightsError(
            f"{folder} was trained on other folds than {fold_path}; name its fold file with --folds"
        )
    recipe = _trained_recipe(recipe, runs)
    trained = table.frame["fold"].isin([run.fold for run in runs])
    names = table.frame["image_name"][trained].tolist()
    scores = concat_scores([run.scores for run in runs], names)
    facts = [run.facts for run in runs]
    report = build_report(recipe, scores, facts, folds_expected=len(table.folds), seed=seed)
    save_out_of_fold(report, scores, facts, folder / "oof.csv")
    save_figures(report, folder / "figures")
    seal_bundle(folder, recipe, runs, report)
    return report


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
    """The recipe that the folds were trained by, with the threshold and resamples asked for.

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


def _say_report(report: Report) -> None:
    content = report.content
    for warning in content["warnings"]:
        t.answer(f"warning: {warning}")
    data = content["data"]
    t.answer(
        f"{content['recipe']}: {data['images']:,} images, {data['positives']:,} melanomas "
        f"({data['prevalence']:.1%}), {data['groups']:,} groups, {len(content['folds'])} folds"
    )
    t.answer("fold  images  melanomas  AUROC   PR-AUC  best/last epoch")
    for fold in content["folds"]:
        t.answer(
            f"{fold['fold']:>4}  {fold['images']:>6}  {fold['positives']:>9}  "
            f"{fold['auroc']:.4f}  {fold['pr_auc']:.4f}  "
            f"{fold['best_epoch']}/{fold['last_epoch']}"
        )
    selection = content["selection"]
    for which in ("best", "last"):
        kept = " (kept)" if selection["kept"] == which else ""
        t.answer(f"AUROC of the {which} epochs{kept}: {_spoken(selection[which]['auroc'])}")
    point = content["thresholds"][0]
    t.answer(
        f"threshold {point['value']:.4f} at {point['at']}: specificity "
        f"{_spoken(point['specificity'])}"
    )
    t.answer(
        f"pooled out-of-fold AUROC {_spoken(content['metrics']['auroc'])}, "
        f"PR-AUC {_spoken(content['metrics']['pr_auc'])}"
    )


def _spoken(metric: dict[str, Any]) -> str:
    if None in metric.values():
        return "undefined"
    return f"{metric['value']:.3f} (95 % {metric['low']:.3f} to {metric['high']:.3f})"


if __name__ == "__main__":
    t.run(app)
