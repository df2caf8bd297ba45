"""Several seeds a fold: a run each, and the fold's own of their mean logits.

fold_N/seed_S/ is a run as any other, which resumes and is checked as such; fold_N/ is made of them
when all are finished. Its model.safetensors holds every network (networks.0., networks.1., ...),
and its oof.csv the mean of their held-out logits: what the fold's part of the bundle answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from melanoma.errors import DataError, WeightsError
from melanoma.evaluation.score_table import LOGITS, ScoreTable
from melanoma.recipe.recipe import Recipe
from melanoma.storage import copy_file
from melanoma.training.fit import describe_run, fit_fold
from melanoma.training.fold_data import FoldData
from melanoma.training.ranks import ALONE, Ranks
from melanoma.training.run.facts import RunStart, read_facts
from melanoma.training.run.run_folder import (
    MODEL,
    FoldRun,
    clear_run,
    finish_run,
    hold,
    load_run,
    require_same_run,
    start_run,
)
from melanoma.training.state import Weights
from melanoma.training.weights_origin import TRAINING_IMAGES


def fit_seeds(
    recipe: Recipe,
    data: FoldData,
    folder: Path,
    *,
    device: torch.device,
    resume: bool = True,
    force_resume: bool = False,
    ranks: Ranks = ALONE,
    **options: Any,
) -> FoldRun:
    """The fold by the recipe's seeds, or fit_fold where it names none; raises as that does."""
    shared: dict[str, Any] = {"device": device, "resume": resume, "force_resume": force_resume}
    if not recipe.seeds:
        return fit_fold(recipe, data, folder, ranks=ranks, **shared, **options)
    ranks.from_first(lambda: _require_own_folder(recipe, data, folder, **shared))
    options |= {"ranks": ranks, **shared}
    runs = [
        fit_fold(recipe.with_seed(seed), data, folder / f"seed_{seed}", **options)
        for seed in recipe.seeds
    ]
    return ranks.from_first(lambda: _combine(recipe, folder, runs))


def _require_own_folder(
    recipe: Recipe,
    data: FoldData,
    folder: Path,
    *,
    device: torch.device,
    resume: bool,
    force_resume: bool,
) -> None:
    """Raise WeightsError where the folder holds a run of another recipe."""
    earlier = read_facts(folder) if folder.is_dir() else None
    if earlier is None:
        return
    if not resume:
        clear_run(folder)
    elif not force_resume:
        require_same_run(folder, recipe, describe_run(recipe, data, device), earlier)


def clear_seeds(folder: Path) -> None:
    """Forget the runs of a fold's seeds. Raises StorageError where another process has one."""
    for seed_folder in sorted(folder.glob("seed_*")):
        with hold(seed_folder, needed=0):
            clear_run(seed_folder)


def _combine(recipe: Recipe, folder: Path, runs: Sequence[FoldRun]) -> FoldRun:
    first, scores = runs[0], mean_scores([run.scores for run in runs])
    # What is not whole, or not sound any more, is made again of the seeds' own.
    with suppress(WeightsError):
        earlier = load_run(folder)
        if _are_same(earlier.scores, scores):
            return earlier  # a sealed bundle may name its files
    size = sum((run.folder / MODEL).stat().st_size for run in runs)
    facts = first.facts.model_copy(
        update={
            "recipe_digest": recipe.digest(),
            "seed": recipe.seed,
            "seconds": round(sum(run.facts.seconds for run in runs), 1),
            "skipped_steps": sum(run.facts.skipped_steps for run in runs),
            "files": {},
        }
    )
    with hold(folder, needed=size):
        start_run(folder, recipe, RunStart.model_validate({**dict(facts), "finished": False}))
        for name in (TRAINING_IMAGES, "metrics.jsonl"):  # the epochs are the first seed's
            copy_file(first.folder / name, folder / name)
        weights: Weights = {}
        for number, run in enumerate(runs):
            networks = load_file(run.folder / MODEL)
            weights |= {f"networks.{number}.{key}": value for key, value in networks.items()}
        return finish_run(folder, weights, scores, facts)


def _are_same(one: ScoreTable, other: ScoreTable) -> bool:
    """Whether two tables of a fold are of the same networks, but for digits that are not stored."""
    columns = [name for column in LOGITS for name in one.columns(column)]
    if one.frame["image_name"].tolist() != other.frame["image_name"].tolist():
        return False
    ours, theirs = (table.frame[columns].to_numpy(np.float64) for table in (one, other))
    return np.allclose(ours, theirs, rtol=1e-6, atol=1e-6)


def mean_scores(tables: Sequence[ScoreTable]) -> ScoreTable:
    """The same images with the mean of each logit. Raises DataError for other images."""
    first = tables[0]
    names = first.frame["image_name"].tolist()
    if any(table.frame["image_name"].tolist() != names for table in tables):
        raise DataError("the seeds of a fold have scored different images")
    columns = [name for column in LOGITS for name in first.columns(column)]
    means = np.mean([table.frame[columns].to_numpy(np.float64) for table in tables], axis=0)
    return ScoreTable(first.frame.assign(**dict(zip(columns, means.T, strict=True))), first.classes)
