"""Searching a space by Optuna on this machine (the extra [sweep]); its sqlite file resumes."""

from __future__ import annotations

import errno
import sqlite3
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from melanoma.cluster.trials import Sweep
from melanoma.errors import DivergedError, RecipeError
from melanoma.recipe.space import Range, Space, TrialSettings
from melanoma.storage import storage_error
from melanoma.training.watchers import Watchers

SearchResult = tuple[TrialSettings, float]  # the best settings of a search, and their value
DATABASE = "study.db"
_DISK_ERRORS = {sqlite3.SQLITE_FULL: errno.ENOSPC, sqlite3.SQLITE_READONLY: errno.EROFS}


def search_by_optuna(
    sweep: Sweep,
    search: str,
    space: Space,
    *,
    seed: int,
    watchers: Watchers,
    say: Callable[[str], None],
) -> SearchResult:
    """The best settings of `space.trials`, those that an earlier run tried counted in.

    Half of the settings are given up after each fold (successive halving, as ASHA on a cluster).
    Settings that diverge, or that the recipe refuses beside each other, are trials that failed.
    Raises RecipeError without Optuna, or where no settings could be trained, StorageError where the
    trials cannot be kept.
    """
    import_optuna()
    with _kept(sweep.folder / DATABASE):
        return _search(sweep, search, space, seed=seed, watchers=watchers, say=say)


def _search(
    sweep: Sweep,
    search: str,
    space: Space,
    *,
    seed: int,
    watchers: Watchers,
    say: Callable[[str], None],
) -> SearchResult:
    optuna = import_optuna()
    study = optuna.create_study(
        study_name=search,
        storage=_database(sweep.folder / DATABASE),
        direction="maximize",
        load_if_exists=True,
        pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2),
    )
    states = optuna.trial.TrialState
    broken = study.get_trials(states=[states.RUNNING])  # of a run that was killed
    ended = [states.COMPLETE, states.PRUNED, states.FAIL]
    # Where nothing could be trained, what was amiss may be mended by now: they are tried anew.
    anew = 0 if _whole(study) else len(study.get_trials(states=[states.FAIL]))
    while (done := len(study.get_trials(states=ended)) - anew) < space.trials:
        # By the number of trials, so that a search that is resumed draws what an unbroken one does.
        study.sampler = optuna.samplers.TPESampler(seed=seed + done)
        trial = optuna.trial.Trial(study, broken.pop()._trial_id) if broken else study.ask()
        settings = {name: _suggest(trial, name, what) for name, what in space.space.items()}
        outcome = _try(sweep, search, trial, settings, watchers)
        say(f"{_named(search)}: trial {done + 1} of {space.trials}: {outcome} {spoken(settings)}")
    if not _whole(study):
        raise RecipeError(f"{_named(search)}: no settings of the space could be trained")
    return dict(study.best_trial.params), float(study.best_trial.value)


def _database(path: Path) -> str:
    """The sqlite file's URL: in a plain one `?` ends the path, and `{` is Optuna's."""
    import sqlalchemy  # of the extra, as Optuna is

    return str(sqlalchemy.URL.create("sqlite", database=str(path)))


@contextmanager
def _kept(path: Path) -> Iterator[None]:
    """What goes wrong with the sqlite file inside is a StorageError, with path and free bytes."""
    import sqlalchemy

    optuna = import_optuna()
    try:
        yield
    except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        # Optuna's own says nothing of the disk; its cause does, and sqlite's within that.
        cause = error if isinstance(error, sqlalchemy.exc.SQLAlchemyError) else error.__cause__
        reason = getattr(cause, "orig", None) or cause or error
        code = getattr(reason, "sqlite_errorcode", 0) & 0xFF  # the rest says where it was met
        plain = OSError(_DISK_ERRORS.get(code, errno.EIO), str(reason))
        raise storage_error(plain, path, partial=path) from error


def _whole(study: Any) -> list[Any]:
    """The trials that were trained on all folds."""
    whole: list[Any] = study.get_trials(states=[import_optuna().trial.TrialState.COMPLETE])
    return whole


def _try(
    sweep: Sweep,
    search: str,
    trial: Any,
    settings: TrialSettings,
    watchers: Watchers,
) -> str:
    """The trial's value in words, or why it has none; the study is told."""
    optuna = import_optuna()
    pruned = False
    known = trial.study.trials[trial.number].intermediate_values

    def report(folds: int, value: float) -> bool:
        nonlocal pruned
        if folds in known:  # told before the run was killed
            return False
        trial.report(value, folds)
        pruned = bool(trial.should_prune()) and folds < len(sweep.inner(search))
        return pruned

    try:
        value = sweep.score(search, settings, report, watchers)
    except (DivergedError, RecipeError) as error:
        trial.study.tell(trial, state=optuna.trial.TrialState.FAIL)
        return "diverged" if isinstance(error, DivergedError) else f"refused ({error})"
    if pruned:
        trial.study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    else:
        trial.study.tell(trial, value)
    return f"{value:.4f}"


def import_optuna() -> Any:
    """Optuna, silent. Raises RecipeError naming the extra where it is not installed."""
    try:
        import optuna
    except ImportError as error:
        raise RecipeError(
            "melanoma.sweep: Optuna is not installed; pip install 'melanoma[sweep]', or search on "
            "a cluster with --on ray"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # Of a choice that is a section or a list, each time that one is drawn or read: the database
    # holds it as JSON, where it comes from.
    warnings.filterwarnings("ignore", "Choices for a categorical distribution", UserWarning)
    return optuna


def _suggest(trial: Any, name: str, what: Range | list[Any]) -> Any:
    if not isinstance(what, Range):
        return trial.suggest_categorical(name, what)
    # Up to `high` itself Optuna would cut the rest off, and say so in three lines.
    low, high = what.low, what.last
    if what.whole:
        return trial.suggest_int(name, low, int(high), step=int(what.step or 1), log=what.log)
    return trial.suggest_float(name, low, high, step=what.step, log=what.log)


def spoken(settings: TrialSettings) -> str:
    """The settings as one line."""
    return " ".join(
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in settings.items()
    )


def _named(search: str) -> str:
    return "all folds" if search == "all" else f"without fold {search}"
