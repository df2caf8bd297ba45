"""python -m melanoma.train --fold N: train one fold, or all, and resume what was begun."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from melanoma import terminal as t
from melanoma.errors import RecipeError
from melanoma.recipe.recipe import Recipe
from melanoma.workflows.places import fold_file, fold_numbers, weights_folder

if TYPE_CHECKING:
    from melanoma.training.fold_data import FoldData
    from melanoma.training.run.folder import FoldRun

app = t.make_app()


@app.command()
def train(
    fold: Annotated[str, typer.Option("--fold", help="A fold's number, or all.")],
    config: t.Config = t.DEFAULT_CONFIG,
    data: t.DataDir = t.DEFAULT_DATA,
    arrays: t.Arrays = t.DEFAULT_ARRAYS,
    folds: t.FoldFile = None,
    weights: t.Weights = None,
    settings: t.Settings = None,
    seed: t.Seed = None,
    device: t.Device = "auto",
    pretrained: t.Pretrained = None,
    resume: Annotated[
        str, typer.Option("--resume", help="auto, or never to start again.")
    ] = "auto",
    force_resume: Annotated[
        bool, typer.Option("--force-resume", help="Resume a run whose recipe or data differ.")
    ] = False,
    allow_leak: Annotated[
        bool, typer.Option("--allow-leak", help="Train on a leak all the same; the report says so.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, say what would run, write nothing.")
    ] = False,
    track: Annotated[
        list[str] | None,
        typer.Option(
            "--track",
            help="mlflow[:URI], tensorboard[:DIR], wandb[:PROJECT], repeatable; or none "
            "(default MELANOMA_MLFLOW_URI).",
        ),
    ] = None,
    image_col: t.ImageCol = None,
    target_col: t.TargetCol = None,
    group_col: t.GroupCol = None,
    json: t.AsJson = False,
) -> None:
    """Train one fold or all folds; the same command resumes."""
    if resume not in ("auto", "never"):
        raise RecipeError(f"--resume {resume}: auto or never")
    asked = t.read_asked(
        *(config, settings, seed),
        data=data,
        arrays=arrays,
        folds=folds,
        pretrained=pretrained,
        image_col=image_col,
        target_col=target_col,
        group_col=group_col,
    )
    recipe = asked.recipe
    if fold != "all" and not fold.isdecimal():
        fold_numbers(fold, list(range(recipe.folds.k)))
    from melanoma.devices import resolve_device
    from melanoma.training.run.facts import is_finished
    from melanoma.training.run.folder import fold_folder
    from melanoma.training.tracking.catalog import tracking_places
    from melanoma.workflows.remember import remember_options
    from melanoma.workflows.train import check_recipe, fold_summary, select_folds, train_fold

    resolve_device(device)
    places = tracking_places(track)
    watch = t.watch(epoch=_say_epoch)
    check_recipe(recipe, watch=watch)
    parts = select_folds(
        recipe,
        data=data,
        arrays=arrays,
        folds=fold_file(folds, recipe),
        fold=fold,
        allow_leak=allow_leak,
        dry_run=dry_run,
        watch=watch,
    )
    if dry_run:
        _say_plan(recipe, parts)
        return
    path = fold_file(folds, recipe)
    remember_options(parts[0].array, arrays, asked.base, asked.options, folds=path)
    folder = weights_folder(weights, recipe)
    summaries = []
    for part in parts:
        start, was_finished = time.monotonic(), is_finished(fold_folder(folder, part.fold))
        run = train_fold(
            recipe,
            part,
            folder,
            arrays=arrays,
            device=device,
            resume=resume == "auto",
            force_resume=force_resume,
            track=places,
            watch=watch,
        )
        summaries.append(fold_summary(recipe, run))
        did = "read" if was_finished and resume == "auto" else "wrote"
        _say_fold(recipe, run, summaries[-1], ending=f"{did} {run.folder} in {t.duration(start)}")
    if json:
        t.answer_json(summaries)


def _say_fold(recipe: Recipe, run: FoldRun, found: dict[str, Any], *, ending: str) -> None:
    from melanoma.training.epoch_metrics import metric_names

    metric = "auroc" if recipe.is_binary else "macro_auroc"
    t.say(
        f"fold {run.fold}: {len(run.scores.frame)} images held out, {metric_names()[metric]} "
        f"{found[f'{metric}_best']:.4f} (best epoch {run.facts.best_epoch}), "
        f"{found[f'{metric}_last']:.4f} (last epoch {run.facts.last_epoch}); "
        f"kept {found['kept']}; {ending}"
    )


def _say_epoch(record: dict[str, Any]) -> None:
    from melanoma.training.epoch_metrics import metric_names

    skipped = f", {record['skipped_steps']} steps skipped" if record["skipped_steps"] else ""
    metrics = [
        f"{name} {record[key]:.4f}"
        for key, name in metric_names().items()
        if record.get(key) is not None
    ]
    t.say(
        f"fold {record['fold']} epoch {record['epoch']:>2}: loss {record['loss']:.4f}, "
        f"valid {record['valid_loss']:.4f}, {', '.join(metrics)}"
        f"{' *' if record['best'] else '  '} rate {record['rates'][-1]:.2e}, "
        f"{record['images_per_second']:.0f} images/s{skipped}"
    )


def _say_plan(recipe: Recipe, parts: list[FoldData]) -> None:
    rules = recipe.training
    for part in parts:
        steps = -(-len(part.training) // (rules.batch_size * rules.accumulate))
        held = f"{part.positives:,} positive"
        if not recipe.is_binary:
            counts = zip(part.classes, part.class_counts.tolist(), strict=True)
            held = ", ".join(f"{count:,} {name}" for name, count in counts)
        t.answer(
            f"fold {part.fold}: {len(part.training):,} images ({held}) "
            f"for training, {len(part.validation):,} held out, up to {rules.epochs} epochs of "
            f"{steps} steps of {rules.batch_size} x {rules.accumulate} images"
        )
    t.answer(
        f"{recipe.model.backbone} at {recipe.image.size} px, recipe {recipe.digest()[:12]}; "
        "nothing was written"
    )


if __name__ == "__main__":
    t.run(app)
