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

    runs = _finished_runs(recipe, folder, allow_missing=allow_missing)
    table = load_folds(fold_path)
    if any(run.facts["folds_digest"] != table.digest for run in runs):
        raise WeightsError(
            f"{folder} was trained on other folds than {fold_path}; name its fold file with --folds"
        )
    trained = table.frame["fold"].isin([run.fold for run in runs])
    names = table.frame["image_name"][trained].tolist()
    scores = concat_scores([run.scores for run in runs], names)
    facts = [run.facts for run in runs]
    report = build_report(recipe, scores, facts, seed=seed)
    save_out_of_fold(report, scores, facts, folder / "oof.csv")
    save_figures(report, folder / "figures")
    seal_bundle(folder, recipe, runs, report)
    return report


def _finished_runs(recipe: Recipe, folder: Path, *, allow_missing: bool) -> list[FoldRun]:
    """Every fold's run. Raises WeightsError for one that is absent or another recipe's."""
    from melanoma.training.run_folder import fold_folder, load_run, read_facts, read_recipe

    runs = []
    for number in range(recipe.folds.k):
        part = fold_folder(folder, number)
        facts = read_facts(part)
        if allow_missing and not (facts and facts["finished"]):
            continue
        run = load_run(part)
        found = differences(recipe.identity(), read_recipe(part).identity())
        if found:
            raise WeightsError(
                f"{part} was trained by another recipe ({'; '.join(found)}); "
                "give evaluate the same --config and --set"
            )
        runs.append(run)
    if not runs:
        raise WeightsError(f"no finished fold in {folder}; run python -m melanoma.train --fold all")
    return runs


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
    return f"{metric['value']:.3f} (95 % {metric['low']:.3f} to {metric['high']:.3f})"


if __name__ == "__main__":
    t.run(app)
