"""python -m melanoma.train --fold N: train one fold, or all, and resume what was begun.

Under torchrun its processes train each fold together.
"""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from melanoma import terminal as t
from melanoma.errors import RecipeError
from melanoma.recipe.recipe import Recipe
from melanoma.training.tracking.tracker_catalog import list_trackers, tracking_places
from melanoma.workflows.asked import require_used_seed
from melanoma.workflows.places import fold_file, fold_numbers, weights_folder

if TYPE_CHECKING:
    from melanoma.training.fold_data import FoldData
    from melanoma.training.ranks import Ranks
    from melanoma.training.run.run_folder import FoldRun
    from melanoma.workflows.asked import Asked
    from melanoma.workflows.train import FoldSummary

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
        bool, typer.Option("--dry-run", help="Check everything, say what would run, train nothing.")
    ] = False,
    track: Annotated[
        list[str] | None,
        typer.Option(
            "--track",
            help=f"{list_trackers()}, repeatable; or none (default MELANOMA_MLFLOW_URI).",
        ),
    ] = None,
    on: t.On = None,
    per_task: t.PerTask = None,
    states: Annotated[
        str | None,
        typer.Option("--states", help="With --on: storage of the states, where nodes share none."),
    ] = None,
    image_col: t.ImageCol = None,
    target_col: t.TargetCol = None,
    group_col: t.GroupCol = None,
    json: t.AsJson = False,
) -> None:
    """Train one fold or all folds; the same command resumes."""
    if resume not in ("auto", "never"):
        raise RecipeError(f"--resume {resume}: auto or never")
    cluster = Cluster.asked(on, per_task, states)
    ask = partial(
        t.read_asked,
        *(config, settings, seed),
        data=data,
        arrays=arrays,
        folds=folds,
        pretrained=pretrained,
        image_col=image_col,
        target_col=target_col,
        group_col=group_col,
    )
    # What cannot be meant is refused before torch is imported; by torchrun's processes, once.
    asked = None if "TORCHELASTIC_RUN_ID" in os.environ else ask()
    if asked and fold != "all" and not fold.isdecimal():
        fold_numbers(fold, list(range(asked.recipe.folds.k)))
    from melanoma.devices import resolve_device
    from melanoma.training.torchrun import join_ranks

    resolve_device(device)
    places = tracking_places(track)
    choice = Choice(data, arrays, folds, fold, allow_leak, dry_run)
    with join_ranks(device) as ranks:
        asked = asked or ranks.in_turn(ask)
        require_used_seed(asked.recipe, seed)
        parts = ranks.in_turn(partial(_select, asked.recipe, choice, ranks))
        if dry_run:
            _say_plan(asked.recipe, parts)
            return
        if ranks.is_first:
            _remember(asked, choice, parts[0])
        options = {
            "arrays": arrays,
            "device": device,
            "resume": resume == "auto",
            "force_resume": force_resume,
            "track": places,
        }
        folder = weights_folder(weights, asked.recipe)
        if cluster is not None:
            summaries = _train_on(cluster, asked.recipe, parts, folder, options)
        else:
            summaries = _train(asked.recipe, parts, folder, ranks, options)
        if json:
            t.answer_json([summary.as_dict() for summary in summaries])


class Cluster(NamedTuple):
    """What a command line says of the cluster that it asks for."""

    address: str
    per_task: str | None
    states: str | None

    @classmethod
    def asked(cls, on: str | None, per_task: str | None, states: str | None) -> Cluster | None:
        """None without --on. Raises RecipeError for what cannot be meant."""
        if on is None:
            if per_task or states:
                raise RecipeError("--per-task and --states mean nothing without --on ray")
            return None
        if "TORCHELASTIC_RUN_ID" in os.environ:
            raise RecipeError("--on ray and torchrun are two ways to several processes; take one")
        from melanoma.cluster.ray_session import import_ray, parse_on

        address = parse_on(on)
        import_ray()
        return cls(address, per_task, states)


class Choice(NamedTuple):
    """What a command line says of the folds and where they come from."""

    data: Path
    arrays: Path
    folds: Path | None
    fold: str
    allow_leak: bool
    dry_run: bool


def _select(recipe: Recipe, choice: Choice, ranks: Ranks) -> list[FoldData]:
    from melanoma.workflows.train import check_recipe, select_folds

    watch = t.watch(epoch=_say_epoch)
    check_recipe(recipe, watch=watch)
    return select_folds(
        recipe,
        data=choice.data,
        arrays=choice.arrays,
        folds=fold_file(choice.folds, recipe),
        fold=choice.fold,
        allow_leak=choice.allow_leak,
        # Of several processes the first one has made what was absent.
        dry_run=choice.dry_run or not ranks.is_first,
        watch=watch,
    )


def _remember(asked: Asked, choice: Choice, part: FoldData) -> None:
    from melanoma.workflows.remember import remember_options

    path = fold_file(choice.folds, asked.recipe)
    remember_options(part.array, choice.arrays, asked.base, asked.options, folds=path)


def _train(
    recipe: Recipe, parts: list[FoldData], folder: Path, ranks: Ranks, options: dict[str, Any]
) -> list[FoldSummary]:
    """The folds one after another, by this process or by those of torchrun."""
    from melanoma.training.run.facts import is_finished
    from melanoma.training.run.run_folder import fold_folder
    from melanoma.workflows.train import fold_summary, train_fold

    summaries = []
    for part in parts:
        start, was_finished = time.monotonic(), is_finished(fold_folder(folder, part.fold))
        watch = t.watch(epoch=_say_epoch)
        run = train_fold(recipe, part, folder, watch=watch, ranks=ranks, **options)
        summaries.append(fold_summary(recipe, run))
        did = "read" if was_finished and options["resume"] else "wrote"
        _say_fold(recipe, run, summaries[-1], ending=f"{did} {run.folder} in {t.duration(start)}")
    return summaries


def _train_on(
    cluster: Cluster, recipe: Recipe, parts: list[FoldData], folder: Path, options: dict[str, Any]
) -> list[FoldSummary]:
    """The folds side by side, by the cluster's nodes."""
    from melanoma.cluster.ray_folds import train_on_ray
    from melanoma.cluster.ray_session import ray_cluster
    from melanoma.workflows.train import fold_summary

    start = time.monotonic()
    with ray_cluster(cluster.address) as ray:
        runs = train_on_ray(
            *(ray, recipe, parts, folder),
            states=cluster.states,
            per_task=cluster.per_task,
            watch=t.watch(epoch=_say_epoch),
            **options,
        )
    summaries = [fold_summary(recipe, run) for run in runs]
    for run, summary in zip(runs, summaries, strict=True):
        _say_fold(recipe, run, summary, ending=f"in {run.folder}")
    t.say(f"{len(runs)} folds in {t.duration(start)}")
    return summaries


def _say_fold(recipe: Recipe, run: FoldRun, summary: FoldSummary, *, ending: str) -> None:
    from melanoma.training.epoch_metrics import metric_names

    metric = "auroc" if recipe.is_binary else "macro_auroc"
    t.say(
        f"fold {run.fold}: {len(run.scores.frame)} images held out, {metric_names()[metric]} "
        f"{summary.metrics[f'{metric}_best']:.4f} (best epoch {run.facts.best_epoch}), "
        f"{summary.metrics[f'{metric}_last']:.4f} (last epoch {run.facts.last_epoch}); "
        f"kept {summary.kept}; {ending}"
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
    from melanoma.training.source_rows import drawn_images

    rules = recipe.training
    for part in parts:
        steps = -(-drawn_images(recipe, part) // (rules.batch_size * rules.accumulate))
        held = f"{part.positives:,} positive"
        if not recipe.is_binary:
            counts = zip(part.classes, part.class_counts.tolist(), strict=True)
            held = ", ".join(f"{count:,} {name}" for name, count in counts)
        t.answer(
            f"fold {part.fold}: {len(part.training):,} images ({held}) "
            f"{_more(part)}for training, {len(part.validation):,} held out, up to {rules.epochs} "
            f"epochs of {steps} steps of {rules.batch_size} x {rules.accumulate} images"
        )
    t.answer(
        f"{recipe.model.network} at {recipe.image.size} px, recipe {recipe.digest()[:12]}; "
        "nothing was trained"
    )


def _more(part: FoldData) -> str:
    """What its sources have, in a few words."""
    sources = [f"{len(source.rows):,} of {source.name} " for source in part.sources]
    return f"and {', '.join(sources)}" if sources else ""


if __name__ == "__main__":
    t.run(app)
