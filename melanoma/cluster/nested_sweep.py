"""A sweep whole: the search for the settings to use, and the honest estimate beside it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from melanoma.cluster.searches import SearchResult
from melanoma.cluster.trials import ALL, Sweep
from melanoma.errors import RecipeError
from melanoma.recipe.recipe import Recipe
from melanoma.recipe.space import Space, TrialSettings
from melanoma.storage import read_text, write_json
from melanoma.training.fit import describe_run
from melanoma.training.starting_weights import starting_file
from melanoma.training.watchers import Watchers
from melanoma.workflows.places import IMAGENET

_STARTS = "model.pretrained"
Search = Callable[[str], SearchResult]  # ALL, or the number of the outer fold that it never sees


@dataclass(frozen=True)
class OuterFold:
    """What a search without this fold chose, what it promised, and what the fold then gave.

    `kept` is of the epoch that the recipe keeps, which this fold may have picked; `last` is not.
    """

    fold: int
    settings: TrialSettings
    promised: float
    kept: float
    last: float


@dataclass(frozen=True)
class SweepResult:
    """The settings to use with what their search saw, and the outer folds."""

    metric: str
    settings: TrialSettings
    promised: float
    outer: tuple[OuterFold, ...]

    @property
    def nested(self) -> float | None:
        """The honest estimate: the mean of the outer folds' last epochs."""
        return float(np.mean([fold.last for fold in self.outer])) if self.outer else None

    def to_json(self) -> dict[str, Any]:
        """sweep.json."""
        return {
            "metric": self.metric,
            "settings": self.settings,
            "promised": self.promised,
            "nested": self.nested,
            "outer": [vars(fold) for fold in self.outer],
        }


def run_sweep(
    sweep: Sweep,
    space: Space,
    search: Search,
    *,
    outer: Sequence[int],
    watchers: Watchers,
) -> SweepResult:
    """Searches over all folds and without each outer one; writes FOLDER/sweep.json."""
    settings, promised = search(ALL)
    folds = []
    for fold in outer:
        chosen, inner = search(str(fold))
        selected_value, last = sweep.outer(fold, chosen, watchers)
        folds.append(OuterFold(fold, chosen, inner, selected_value, last))
    metric = sweep.recipe(settings).selection_metric
    result = SweepResult(metric, settings, promised, tuple(folds))
    write_json(sweep.folder / "sweep.json", {**result.to_json(), "space": space.model_dump()})
    return result


def begin_sweep(sweep: Sweep, space: Space) -> None:
    """Record what the trials are of. Raises RecipeError where the folder has other ones."""
    recipe, part = sweep.recipe({}), sweep.parts[0]
    ours = {
        "recipe": recipe.digest(),
        "space": space.digest,
        "folds": part.folds.digest,
        "array": part.array.digest,
        **_beside(sweep, recipe),
    }
    path = sweep.folder / "of.json"
    try:
        theirs = json.loads(read_text(path))
    except FileNotFoundError:
        write_json(path, ours)
        return
    # Earlier versions wrote four of them.
    other = [key for key in ours if key in theirs and _is_other(ours[key], theirs[key])]
    if other:
        raise RecipeError(
            f"{sweep.folder} holds a sweep of another {', '.join(other)}; name another --out"
        )
    if None in theirs.get(_STARTS, ()) and None not in ours[_STARTS]:
        write_json(path, {**theirs, _STARTS: ours[_STARTS]})  # nothing began without that file


def _is_other(ours: Any, theirs: Any) -> bool:
    """Whether they differ; a file of weights that is not at hand (None) is no other one."""
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        return any(
            one != two and None not in (one, two) for one, two in zip(ours, theirs, strict=True)
        )
    return bool(ours != theirs)


def _beside(sweep: Sweep, recipe: Recipe) -> dict[str, Any]:
    """What lies in files that a recipe names, and decides what its folds give, by the field."""
    facts = [describe_run(recipe, part, sweep.device) for part in sweep.parts]
    starts = [starting_file(recipe, one.fold, imagenet=IMAGENET) for one in facts]
    return {
        _STARTS: starts,
        "model.embeddings": facts[0].embeddings,
        "data.sources": [one.digest for one in facts[0].sources or ()],
        "loss.teacher": [one.teacher for one in facts],
        "loss.auxiliary": facts[0].auxiliary,
    }


def outer_folds(text: str, known: Sequence[int]) -> list[int]:
    """The folds of `all`, `none` or `0,2`. Raises RecipeError for others, and for too few folds."""
    if text == "none":
        return []
    if len(known) < 3:
        raise RecipeError(
            f"{len(known)} folds leave none to search on; take three, or --outer none"
        )
    if text == "all":
        return list(known)
    numbers = text.split(",")
    if not all(n.isdecimal() and int(n) in known for n in numbers):
        raise RecipeError(f"--outer {text}: all, none, or of {', '.join(map(str, known))}")
    return [int(n) for n in numbers]


def doubt_estimate(recipe: Recipe) -> list[str]:
    """A warning where the folds of a search without one begin with, or learn from, what that one's
    images taught."""
    given = {
        "model.pretrained": "{fold}" in recipe.model.pretrained,
        "loss.teacher": recipe.loss.teacher is not None,
    }
    return [
        f"warning: {name} is of each fold's own training, which saw the other folds: the nested "
        "estimate flatters (--outer none leaves it out)"
        for name, by_fold in given.items()
        if by_fold
    ]


def trainings(folds: int, outer: int, trials: int) -> int:
    """The most networks that a sweep trains."""
    return trials * (folds + outer * (folds - 1)) + outer


def folder_of(out: Path | None, recipe: str, space: Path) -> Path:
    """--out, or sweeps/RECIPE_SPACE."""
    return out or Path("sweeps") / f"{recipe}_{space.stem}"
