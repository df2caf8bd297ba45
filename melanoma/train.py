"""python -m melanoma.train --fold N: train one fold, or all, and resume what was begun."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from melanoma import terminal as t
from melanoma.errors import DataError, FoldError, RecipeError
from melanoma.prepare import prepare_array
from melanoma.recipe.recipe import Recipe
from melanoma.split import search_duplicates, split_folds

if TYPE_CHECKING:
    from melanoma.data.arrays import ImageArray
    from melanoma.data.folds import FoldTable
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
    pretrained: Annotated[
        str | None, typer.Option("--pretrained", help="none, imagenet, or a file of weights.")
    ] = None,
    resume: Annotated[
        str, typer.Option("--resume", help="auto, or never to start again.")
    ] = "auto",
    force_resume: Annotated[
        bool, typer.Option("--force-resume", help="Resume a run whose recipe or data differ.")
    ] = False,
    allow_leak: Annotated[
        bool, typer.Option("--allow-leak", help="Train on a leaking fold file; the report says so.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, say what would run, write nothing.")
    ] = False,
    track: Annotated[
        str | None,
        typer.Option("--track", help="mlflow, mlflow:URI or none (default MELANOMA_MLFLOW_URI)."),
    ] = None,
    image_col: t.ImageCol = None,
    target_col: t.TargetCol = None,
    group_col: t.GroupCol = None,
    json: t.AsJson = False,
) -> None:
    """Train one fold or all folds; the same command resumes."""
    if resume not in ("auto", "never"):
        raise RecipeError(f"--resume {resume}: auto or never")
    if pretrained is not None:
        settings = [*(settings or []), f"model.pretrained={pretrained}"]
    recipe = t.read_recipe_options(
        config, settings, seed, image_col=image_col, target_col=target_col, group_col=group_col
    )
    if fold != "all" and not fold.isdecimal():
        t.fold_numbers(fold, list(range(recipe.folds.k)))
    from melanoma.devices import resolve_device
    from melanoma.training.tracking.follow import tracking_uri

    resolve_device(device)
    uri = tracking_uri(track)
    check_recipe(recipe)
    parts = select_folds(
        recipe,
        data=data,
        arrays=arrays,
        folds=t.fold_file(folds, recipe),
        fold=fold,
        allow_leak=allow_leak,
        dry_run=dry_run,
    )
    if dry_run:
        _say_plan(recipe, parts)
        return
    folder = t.weights_folder(weights, recipe)
    runs = [
        train_fold(
            recipe,
            part,
            folder,
            arrays=arrays,
            device=device,
            resume=resume == "auto",
            force_resume=force_resume,
            track=uri,
        )
        for part in parts
    ]
    if json:
        t.answer_json([_summary(recipe, run) for run in runs])


def select_folds(
    recipe: Recipe,
    *,
    data: Path,
    arrays: Path,
    folds: Path,
    fold: str = "all",
    allow_leak: bool = False,
    dry_run: bool = False,
) -> list[FoldData]:
    """What each wanted fold (a number, or all) trains on; array and fold file made when absent.

    Raises FoldError when the fold file leaks, unless `allow_leak`; RecipeError for a fold that
    does not exist.
    """
    from melanoma.data.leaks import audit_folds, require_no_leaks
    from melanoma.training.fold_data import select_fold

    array, table = _ensure_inputs(recipe, data, arrays, folds, fold, dry_run=dry_run)
    names = table.whole["image_name"].tolist()
    duplicates = search_duplicates(array, arrays).among(array.names, names)
    audit = audit_folds(_identified(recipe, data, table), duplicates)
    for line in audit.lines():
        t.say(line if line.startswith(" ") else f"LEAK: {line}")
    audit = require_no_leaks(audit, allow=allow_leak)
    numbers = t.fold_numbers(fold, table.folds)
    return [
        select_fold(array, table, number, classes=recipe.classes, audit=audit) for number in numbers
    ]


def train_fold(
    recipe: Recipe,
    part: FoldData,
    weights: Path,
    *,
    arrays: Path | None = None,
    device: str = "auto",
    resume: bool = True,
    force_resume: bool = False,
    track: str | None = None,
) -> FoldRun:
    """The fold's run in WEIGHTS/fold_N: trained, resumed, or as it is when it was finished.

    `arrays` keeps a frozen backbone's embeddings, for the other folds and other recipes. `track` is
    the URI of an MLflow that is told of it, whose failure changes nothing.
    """
    from melanoma.devices import resolve_device
    from melanoma.training.epoch_metrics import metric_names
    from melanoma.training.fit import fit_fold
    from melanoma.training.loop import Watchers
    from melanoma.training.run.folder import fold_folder
    from melanoma.training.tracking.follow import follow, make_tracker

    start = time.monotonic()
    watchers = Watchers(say=t.say, epoch=_say_epoch, bar=t.epoch_bar)
    with follow(make_tracker(track), watchers, recipe) as watchers:
        run = fit_fold(
            recipe,
            part,
            fold_folder(weights, part.fold),
            device=resolve_device(device),
            resume=resume,
            force_resume=force_resume,
            imagenet=Path("weights/imagenet"),
            embeddings=arrays,
            watchers=watchers,
        )
    found = _summary(recipe, run)
    metric = "auroc" if recipe.is_binary else "macro_auroc"
    t.say(
        f"fold {part.fold}: {len(part.validation)} images held out, {metric_names()[metric]} "
        f"{found[f'{metric}_best']:.4f} (best epoch {run.facts.best_epoch}), "
        f"{found[f'{metric}_last']:.4f} (last epoch {run.facts.last_epoch}); "
        f"kept {found['kept']}; wrote {run.folder} in {t.duration(start)}"
    )
    return run


def check_recipe(recipe: Recipe) -> None:
    """Refuse an unknown backbone, loss or augmentation before any work is done."""
    from melanoma.data.transforms import Augmentation
    from melanoma.models.backbones import find_backbone
    from melanoma.models.losses import require_fitting_loss

    find_backbone(recipe.model.backbone)
    Augmentation(recipe.augment)
    if recipe.model.pretrained == "none" and all(plan.frozen for plan in recipe.stage_plans):
        t.say(
            "warning: the backbone is frozen and starts from random weights, so its features are "
            "noise; name its weights with --pretrained imagenet or FILE"
        )
    require_fitting_loss(recipe.loss.name, outputs=recipe.outputs)


def _ensure_inputs(
    recipe: Recipe, data: Path, arrays: Path, fold_path: Path, fold: str, *, dry_run: bool
) -> tuple[ImageArray, FoldTable]:
    """The array and the fold file; made first, and said, when they are absent."""
    from melanoma.data.arrays import load_array
    from melanoma.data.folds import load_folds

    there = fold_path.is_file()
    table = load_folds(fold_path, classes=recipe.classes) if there else None
    t.fold_numbers(fold, list(range(recipe.folds.k)) if table is None else table.folds)
    if table is not None and recipe.folds.holdout != "none" and table.test.empty:
        raise FoldError(
            f"folds.holdout: {fold_path} has no test part; rebuild it with python -m "
            "melanoma.split, or --set folds.holdout=none"
        )
    array = load_array(arrays, recipe.image)
    if dry_run and (array is None or table is None):
        absent = "array" if array is None else "fold file"
        raise RecipeError(f"--dry-run: there is no {absent} yet; run prepare and split first")
    if array is None:
        t.say(f"no array of {recipe.image.size} px in {arrays}: preparing it from {data}")
        array = prepare_array(recipe, data, arrays)
    if table is None:
        t.say(f"no fold file at {fold_path}: splitting")
        table, audit = split_folds(recipe, data, arrays, fold_path)
        for line in audit:
            t.say(line)
    return array, table


def _identified(recipe: Recipe, data: Path, folds: FoldTable) -> FoldTable:
    """The fold table with patients and lesions that only the data's own table knows."""
    from melanoma.data.leaks import with_identities
    from melanoma.data.readers.catalog import read_lesions

    if recipe.data.reader == "phantoms" and not (data / "train.csv").is_file():
        return folds  # reading would draw them
    try:
        table = read_lesions(data, recipe.data, classes=recipe.classes)
    except DataError:
        return folds  # an array and a fold file are all that training needs
    return with_identities(folds, table)


def _summary(recipe: Recipe, run: FoldRun) -> dict[str, Any]:
    """The fold's facts for machines; the metrics of the best and the last epoch."""
    from melanoma.training.epoch_metrics import metric_names, validate

    metrics: dict[str, float | None] = {}
    for which in ("best", "last"):
        found = validate(
            recipe,
            run.scores.logits(f"logit_{which}"),
            run.scores.target,
            shift=run.facts.prior_shift,
        )
        metrics |= {f"{key}_{which}": found[key] for key in metric_names() if key in found}
    return {
        "fold": run.fold,
        "folder": str(run.folder),
        **metrics,
        "kept": run.facts.kept,
        "seconds": run.facts.seconds,
    }


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
