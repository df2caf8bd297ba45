"""python -m melanoma.sweep --space S.yaml: search settings over inner folds; resumable.

The best settings come with a nested estimate: each outer fold scored by what a search that never
saw it has chosen.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from melanoma import terminal as t
from melanoma.recipe.find_recipe import find_recipe
from melanoma.recipe.space import as_overrides, load_space
from melanoma.workflows.places import fold_file

if TYPE_CHECKING:
    from melanoma.cluster.nested_sweep import SweepResult
    from melanoma.cluster.trials import Sweep
    from melanoma.recipe.space import Space

app = t.make_app()


@app.command()
def sweep(
    space: Annotated[Path, typer.Option("--space", help="YAML of the fields and their ranges.")],
    config: t.Config = t.DEFAULT_CONFIG,
    data: t.DataDir = t.DEFAULT_DATA,
    arrays: t.Arrays = t.DEFAULT_ARRAYS,
    folds: t.FoldFile = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Where trials lie (default sweeps/RECIPE_SPACE).")
    ] = None,
    trials: Annotated[
        int | None, typer.Option("--trials", min=1, help="Instead of the space's own number.")
    ] = None,
    outer: Annotated[
        str, typer.Option("--outer", help="Outer folds of the estimate: all, none, or 0,2.")
    ] = "all",
    settings: t.Settings = None,
    seed: t.Seed = None,
    device: t.Device = "auto",
    on: t.On = None,
    per_task: t.PerTask = None,
    json: t.AsJson = False,
) -> None:
    """Search a recipe's settings on inner folds; the same command resumes."""
    start, path = time.monotonic(), find_recipe(config)
    asked = t.read_asked(config, settings, seed, data=data, arrays=arrays, folds=folds)
    recipe, overrides = asked.recipe, (*(settings or ()), *asked.options)
    search_space = load_space(space, path, overrides)
    search_space = (
        search_space if trials is None else search_space.model_copy(update={"trials": trials})
    )
    from melanoma.cluster.nested_sweep import (
        begin_sweep,
        doubt_estimate,
        folder_of,
        outer_folds,
        trainings,
    )
    from melanoma.cluster.searches import import_optuna
    from melanoma.cluster.trials import Sweep
    from melanoma.devices import resolve_device
    from melanoma.workflows.train import check_recipe, select_folds

    if on is None:
        import_optuna()
    watch = t.watch()
    check_recipe(recipe, watch=watch)
    parts = select_folds(
        recipe, data=data, arrays=arrays, folds=fold_file(folds, recipe), watch=watch
    )
    numbers = outer_folds(outer, [part.fold for part in parts])
    for line in doubt_estimate(recipe) if numbers else ():
        t.say(line)
    folder = folder_of(out, recipe.name, space).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    whole = Sweep(
        path.resolve(),
        overrides,
        seed,
        tuple(parts),
        folder,
        resolve_device(device),
        arrays.resolve(),
    )
    begin_sweep(whole, search_space)
    most = trainings(len(parts), len(numbers), search_space.trials)
    t.say(
        f"{search_space.trials} trials a search, {1 + len(numbers)} searches: "
        f"at most {most:,} networks"
    )
    result = _search(whole, search_space, numbers, recipe.seed, on, per_task)
    # Of a recipe with seeds it is the search's own, and train refuses it.
    trained_by = [] if seed is None or recipe.seeds else [f"--seed {seed}"]
    given = [*_set(settings or ()), *trained_by]
    _say_result(result, _train(config, data, arrays, folds), given)
    t.say(f"wrote {folder / 'sweep.json'} in {t.duration(start)}")
    if json:
        t.answer_json(result.to_json())


def _search(
    sweep: Sweep, space: Space, outer: list[int], seed: int, on: str | None, per_task: str | None
) -> SweepResult:
    from melanoma.cluster.nested_sweep import run_sweep
    from melanoma.training.watchers import Watchers

    watchers = Watchers(say=t.say)
    if on is None:
        from melanoma.cluster.searches import search_by_optuna

        search = partial(
            search_by_optuna, sweep, space=space, seed=seed, watchers=watchers, say=t.say
        )
        return run_sweep(sweep, space, search, outer=outer, watchers=watchers)
    from melanoma.cluster.ray_search import search_by_tune
    from melanoma.cluster.ray_session import (
        node_resources,
        parse_on,
        ray_cluster,
        read_resources,
    )

    with ray_cluster(parse_on(on)) as ray:
        resources = read_resources(per_task, node_resources(ray), gpu=sweep.device.type != "cpu")
        tuned = partial(
            search_by_tune, sweep, space=space, seed=seed, resources=resources, say=t.say
        )
        return run_sweep(sweep, space, tuned, outer=outer, watchers=watchers)


def _set(settings: Iterable[str]) -> list[str]:
    """The options as a shell takes them."""
    return [f"--set {quote(one)}" for one in settings]


def _train(config: Path, data: Path, arrays: Path, folds: Path | None) -> str:
    """The command that trains on what was searched on, as far as that is no default."""
    places = {"data": (data, t.DEFAULT_DATA), "arrays": (arrays, t.DEFAULT_ARRAYS)}
    places |= {"folds": (folds or Path(), Path())}
    named = [
        f"--{name} {quote(str(given))}"
        for name, (given, default) in places.items()
        if given != default
    ]
    return " ".join(["python -m melanoma.train --config", quote(str(config)), *named])


def _say_result(result: SweepResult, command: str, given: list[str]) -> None:
    """What came of it, and how to train it: with the options that were `given` here as well."""
    options = " ".join([*given, *_set(as_overrides(result.settings))])
    t.answer(
        f"best settings: {result.metric} {result.promised:.4f} on the folds that chose them, "
        "which is more than new images will give"
    )
    if result.nested is not None:
        shown = ", ".join(f"fold {fold.fold} {fold.last:.4f}" for fold in result.outer)
        t.answer(
            f"nested estimate: {result.metric} {result.nested:.4f} ({shown}), each fold by the "
            "last epoch of the settings that a search without it chose"
        )
        selected = sum(fold.kept for fold in result.outer) / len(result.outer)
        promised = sum(fold.promised for fold in result.outer) / len(result.outer)
        t.answer(
            f"these searches had promised {promised:.4f}; the epochs that the recipe keeps gave "
            f"{selected:.4f}"
        )
    t.answer(f"{command} --fold all {options}")


if __name__ == "__main__":
    t.run(app)
