"""Searching a space on a Ray cluster: Ray Tune with ASHA, over the same trials as Optuna's."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from melanoma.cluster.searches import SearchResult, spoken
from melanoma.cluster.trials import Sweep
from melanoma.errors import DivergedError, MelanomaError, RecipeError
from melanoma.recipe.space import Range, Space, TrialSettings
from melanoma.training.watchers import Watchers


def search_by_tune(
    sweep: Sweep,
    search: str,
    space: Space,
    *,
    seed: int,
    resources: Mapping[str, float],
    say: Any,
) -> SearchResult:
    """The best of `space.trials` settings drawn at random, half of them given up after each fold.

    A trial's state is its runs' folders, which all nodes see; a search that was ended goes on from
    them. Raises RecipeError where no settings could be trained.
    """
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.basic_variant import BasicVariantGenerator

    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    storage, name = sweep.folder / "ray", f"search_{search}"
    trainable = tune.with_resources(
        tune.with_parameters(_trial, sweep=sweep, search=search, cwd=Path.cwd()), dict(resources)
    )
    path = str(storage / name)
    if tune.Tuner.can_restore(path):
        tuner = tune.Tuner.restore(path, trainable, resume_errored=True)
    else:
        tuner = tune.Tuner(
            trainable,
            param_space={field: _domain(tune, what) for field, what in space.space.items()},
            tune_config=tune.TuneConfig(
                metric="value",
                mode="max",
                num_samples=space.trials,
                search_alg=BasicVariantGenerator(random_state=seed),
                scheduler=ASHAScheduler(
                    time_attr="folds",
                    max_t=len(sweep.inner(search)),
                    grace_period=1,
                    reduction_factor=2,
                ),
            ),
            run_config=tune.RunConfig(
                name=name,
                storage_path=str(storage),
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=5),
            ),
        )
    results = tuner.fit()
    for result in results:
        value = (result.metrics or {}).get("value")
        outcome = _why_not(sweep, result.config) if value is None else f"{value:.4f}"
        say(f"{search}: {outcome} {spoken(result.config)}")
    # By the trials' own files: one that was given up may have been done by then.
    whole = sweep.tried(search)
    if not whole:
        raise RecipeError(f"{search}: no settings of the space could be trained")
    return max(whole, key=lambda trial: trial[1])


def _why_not(sweep: Sweep, settings: TrialSettings) -> str:
    """Why the settings have no value, as far as the recipe says it."""
    try:
        sweep.recipe(settings)
    except RecipeError as error:
        return f"refused ({error})"
    return "failed"


def _trial(config: dict[str, Any], *, sweep: Sweep, search: str, cwd: Path) -> None:
    from ray import tune

    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    if cwd.is_dir():
        os.chdir(cwd)

    def report(folds: int, value: float) -> bool:
        tune.report({"value": value, "folds": folds})  # ends the trial here when it is given up
        return False

    try:
        sweep.score(search, config, report, Watchers())
    except (DivergedError, RecipeError):  # of these settings, not of the others
        return
    except MelanomaError as error:
        raise RuntimeError(f"{error} (exit code {error.exit_code})") from error


def _domain(tune: Any, what: Range | list[Any]) -> Any:
    if not isinstance(what, Range):
        return tune.choice(what)
    low, high, step = what.low, what.high, what.step
    if what.whole:
        last = int(high) + 1  # Tune leaves the end out
        if step is not None:
            return tune.choice(list(range(int(low), last, int(step))))
        return tune.lograndint(low, last) if what.log else tune.randint(low, last)
    if step is not None:  # Tune's own steps are counted from 0, and must meet both ends
        return tune.choice(what.values())
    return tune.loguniform(low, high) if what.log else tune.uniform(low, high)
