"""A trial of a sweep: settings, trained on inner folds; and the fold that no trial has seen.

The search for outer fold F trains on the other folds alone, each held out in turn: no image of F
has a part in its choice, so that F's score by that choice is an honest one. The search `all`
holds out each fold of all, and gives the settings to use.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from melanoma.errors import FoldError
from melanoma.evaluation.score_table import ScoreTable
from melanoma.recipe.overrides import load_recipe
from melanoma.recipe.recipe import Recipe
from melanoma.recipe.space import TrialSettings, as_overrides
from melanoma.storage import digest_of, read_text, write_json
from melanoma.training.epoch_metrics import judge, validate
from melanoma.training.fold_data import FoldData
from melanoma.training.run.run_folder import MODEL, FoldRun, fold_folder
from melanoma.training.seeds import fit_seeds
from melanoma.training.watchers import Watchers
from melanoma.workflows.places import IMAGENET

ALL = "all"
Report = Callable[[int, float], bool]  # folds done, mean so far -> whether the trial is given up


@dataclass(frozen=True)
class Sweep:
    """What is searched: a recipe's file with overrides, its folds' data, and where runs are kept.

    `folder` keeps every trial by its settings: the same ones are never trained twice, and go on
    where they were.
    """

    config: Path
    overrides: tuple[str, ...]
    seed: int | None
    parts: tuple[FoldData, ...]
    folder: Path
    device: torch.device
    arrays: Path

    def recipe(self, settings: TrialSettings) -> Recipe:
        """The recipe with the settings. Raises RecipeError where they do not go together."""
        overrides = (*self.overrides, *as_overrides(settings))
        return load_recipe(self.config, overrides, seed=self.seed)

    def inner(self, search: str) -> list[FoldData]:
        """The folds of a search: all, or those without the outer fold's images."""
        if search == ALL:
            return list(self.parts)
        (outer,) = [part for part in self.parts if str(part.fold) == search]
        return [_without(part, outer) for part in self.parts if part.fold != outer.fold]

    def score(
        self, search: str, settings: TrialSettings, report: Report, watchers: Watchers
    ) -> float:
        """The mean of the selection metric over the search's folds, the higher the better.

        After each fold `report` is told; where it gives the trial up, the mean so far. Raises
        DivergedError, RecipeError, and as fit_fold does.
        """
        folder = self._folder(search, settings)
        values = _read_values(folder)
        recipe, parts = self.recipe(settings), self.inner(search)
        for number, part in enumerate(parts, 1):
            if number > len(values):
                run = self._fit(recipe, part, folder, watchers)
                values.append(value_of(recipe, run.scores, run.facts.prior_shift))
                write_json(folder / "values.json", {"settings": settings, "values": values})
                _forget_weights(run.folder)
            if report(number, float(np.mean(values[:number]))) and number < len(parts):
                return float(np.mean(values[:number]))
        return float(np.mean(values))

    def tried(self, search: str) -> list[tuple[TrialSettings, float]]:
        """The settings that were trained on all folds of a search, with their values."""
        trials, folds = [], len(self.inner(search))
        for path in sorted(self._folder(search, {}).parent.glob("*/values.json")):
            trial = json.loads(read_text(path))
            if len(trial["values"]) == folds:
                trials.append((trial["settings"], float(np.mean(trial["values"]))))
        return trials

    def outer(self, fold: int, settings: TrialSettings, watchers: Watchers) -> tuple[float, float]:
        """The metric on an outer fold, of the epoch that is kept and of the last one.

        The kept one is picked by this fold where selection.keep is best: the last is not.
        """
        (part,) = [part for part in self.parts if part.fold == fold]
        recipe = self.recipe(settings)
        run = self._fit(recipe, part, self.folder / "outer" / _key(settings), watchers)
        shift = run.facts.prior_shift
        selected, last = (value_of(recipe, run.scores, shift, by) for by in ("logit", "logit_last"))
        return selected, last

    def _folder(self, search: str, settings: TrialSettings) -> Path:
        name = ALL if search == ALL else f"without_{search}"
        return self.folder / name / _key(settings)

    def _fit(self, recipe: Recipe, part: FoldData, folder: Path, watchers: Watchers) -> FoldRun:
        return fit_seeds(
            recipe,
            part,
            fold_folder(folder, part.fold),
            device=self.device,
            imagenet=IMAGENET,
            embeddings=self.arrays,
            watchers=watchers,
        )


def value_of(
    recipe: Recipe,
    scores: ScoreTable,
    shift: float | Sequence[float],
    which: str = "logit",
) -> float:
    """The recipe's selection metric of a fold's scores, the higher the better."""
    return judge(recipe, validate(recipe, scores.logits(which), scores.target, shift=shift))


def _without(part: FoldData, outer: FoldData) -> FoldData:
    training = part.training[~np.isin(part.training, outer.validation)]
    # What shows a patient of the outer fold is no source's either.
    sources = tuple(
        replace(one, rows=np.intersect1d(one.rows, allowed.rows))
        for one, allowed in zip(part.sources, outer.sources, strict=True)
    )
    inner = replace(part, training=training, sources=sources)
    for source in sources:
        if not len(source.rows):
            raise FoldError(
                f"source {source.name}: every row shows what fold {outer.fold} or {part.fold} "
                "holds out; a sweep needs more folds, or --outer none"
            )
    if not len(training) or inner.class_counts.min() == 0:
        raise FoldError(
            f"without fold {outer.fold}, fold {part.fold} has a class less to train on; "
            "a sweep needs more folds, or --outer none"
        )
    return inner


def _key(settings: TrialSettings) -> str:
    return digest_of(settings)[:16]


def _read_values(folder: Path) -> list[float]:
    try:
        return [float(value) for value in json.loads(read_text(folder / "values.json"))["values"]]
    except FileNotFoundError:
        return []


def _forget_weights(folder: Path) -> None:
    """What a trial's network weighs is needed no more; its scores and history stay."""
    for path in folder.rglob(MODEL):
        path.unlink()
