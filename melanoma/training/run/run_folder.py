"""The folder of one fold: who holds it, what it was started with, what came out.

fold_N/  recipe.yaml  run.json  metrics.jsonl          from the start
         training_images.csv                           (see weights_origin)
         state.json  state-N.pt (two of them)          while it trains
         model.safetensors  oof.csv                    when it is finished
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout
from safetensors.torch import save as serialize

from melanoma.errors import DataError, RecipeError, StorageError, WeightsError
from melanoma.evaluation.score_table import ScoreTable, load_scores, save_scores
from melanoma.recipe.differences import differences
from melanoma.recipe.overrides import make_recipe
from melanoma.recipe.recipe import Recipe
from melanoma.storage import (
    ensure_writable,
    read_text,
    sha256_of,
    sweep_temporaries,
    write_atomic,
    write_bytes,
    write_text,
    writing,
)
from melanoma.training.run.facts import RunFacts, RunStart, read_facts, write_facts
from melanoma.training.run.resume_state import remove_states
from melanoma.training.state import Weights
from melanoma.training.weights_origin import TRAINING_IMAGES

MODEL = "model.safetensors"


@dataclass(frozen=True)
class FoldRun:
    """A finished fold: its folder, out-of-fold scores, and run.json's facts."""

    folder: Path
    scores: ScoreTable
    facts: RunFacts

    @property
    def fold(self) -> int:
        """Which fold was held out."""
        return self.facts.fold


def fold_folder(weights: Path, fold: int) -> Path:
    """WEIGHTS/fold_N."""
    return weights / f"fold_{fold}"


@contextmanager
def hold(folder: Path, *, needed: int) -> Iterator[None]:
    """Have the folder alone. Raises StorageError when another process has it, or no room is left.

    The lock dies with its process, so a killed run leaves none behind.
    """
    ensure_writable(folder, needed=needed)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise StorageError(
            f"{folder} is in use by another process; wait for it, "
            "or train into another --weights DIR"
        ) from error
    try:
        with writing(folder / ".lock"):
            (folder / ".lock").write_text(f"{os.getpid()}\n")
        sweep_temporaries(folder)
        yield
    finally:
        lock.release()


def start_run(folder: Path, recipe: Recipe, facts: RunStart) -> None:
    """Record what the run is made with, before its first batch."""
    write_text(folder / "recipe.yaml", recipe.to_yaml())
    for name, data in recipe.own_files.items():
        write_bytes(folder / name, data)
    write_facts(folder, facts)


def clear_run(folder: Path) -> None:
    """Forget an earlier run in this folder."""
    # run.json last: a state without it would be taken up whatever the recipe.
    remove_states(folder)
    for name in (MODEL, "oof.csv", "metrics.jsonl", TRAINING_IMAGES, "run.json"):
        (folder / name).unlink(missing_ok=True)


def read_recipe(folder: Path) -> Recipe:
    """The recipe that the folder's run was made with."""
    try:
        values = yaml.safe_load(read_text(folder / "recipe.yaml"))
    except OSError as error:
        raise WeightsError(f"{folder} holds no run: no recipe.yaml") from error
    except yaml.YAMLError as error:
        raise _damaged(folder, error) from error
    try:
        return make_recipe(values, origin=str(folder / "recipe.yaml"))
    except RecipeError as error:
        raise _damaged(folder, error) from error


def _damaged(folder: Path, error: Exception) -> WeightsError:
    reason = " ".join(str(error).split())[:200]
    return WeightsError(f"{folder / 'recipe.yaml'} is damaged, or of a later version ({reason})")


def require_same_run(
    folder: Path,
    recipe: Recipe,
    facts: RunStart,
    earlier: RunStart,
    *,
    other_start: Iterable[str] = (),
) -> None:
    """Raise WeightsError listing what differs between this run and the one in the folder;
    `other_start` says what differs of their starting weights."""
    changes = differences(recipe.identity(), read_recipe(folder).identity())
    for key in ("fold", "folds_digest", "array_digest"):
        before, now = (str(getattr(made, key)) for made in (earlier, facts))
        if before != now:
            changes.append(f"{key}: {before[:12]} -> {now[:12]}")
    before, now = (_digests(made) for made in (earlier, facts))
    if before != now:
        changes.append(f"data.sources: {before or 'none'} -> {now or 'none'}")
    if recipe.model.embeddings is not None and earlier.embeddings != facts.embeddings:
        changes.append(f"model.embeddings: {earlier.embeddings} -> {facts.embeddings}")
    if earlier.teacher != facts.teacher:
        changes.append(f"loss.teacher: {earlier.teacher} -> {facts.teacher}")
    said, says = earlier.auxiliary, facts.auxiliary
    if said and says and said != says:  # earlier versions wrote none
        changes.append(f"loss.auxiliary: what its column says, {said[:12]} -> {says[:12]}")
    changes += other_start
    if changes:
        raise WeightsError(
            f"{folder} holds another run ({'; '.join(changes)}); train into another --weights DIR, "
            "start again with --resume never, or insist with --force-resume"
        )


def _digests(facts: RunStart) -> str:
    """The sources and their digests, blank without any."""
    return ", ".join(f"{s.name} {s.digest[:12]}" for s in facts.sources or ())


def write_metrics(folder: Path, history: list[dict[str, Any]]) -> None:
    """metrics.jsonl: one line an epoch, rewritten whole so that a resumed run has no echo."""
    lines = [json.dumps(_plain(record), allow_nan=False) for record in history]
    write_text(folder / "metrics.jsonl", "".join(line + "\n" for line in lines))


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    """NaN (the loss of an epoch without one finite step) as null, for it is not JSON."""
    odd = {key for key, value in record.items() if isinstance(value, float) and isnan(value)}
    return {key: None if key in odd else value for key, value in record.items()}


def finish_run(folder: Path, weights: Weights, scores: ScoreTable, facts: RunFacts) -> FoldRun:
    """Write the results, mark the run finished, and drop its resume state.

    Its scores are those of oof.csv, to the digits that stand there, as load_run gives them later.
    """
    payload = serialize({key: value.contiguous() for key, value in weights.items()})
    write_atomic(folder / MODEL, lambda file: file.write(payload), needed=len(payload))
    save_scores(scores, folder / "oof.csv")
    names = (MODEL, "oof.csv", "recipe.yaml", TRAINING_IMAGES)
    files = {name: sha256_of(folder / name) for name in names}
    done = facts.model_copy(update={"files": files})
    write_facts(folder, done)
    remove_states(folder)
    return FoldRun(folder, load_scores(folder / "oof.csv", scores.classes), done)


def load_run(folder: Path) -> FoldRun:
    """A finished fold, its files verified.

    Raises WeightsError when it is not finished, a file is missing, or a digest differs.
    """
    facts = read_facts(folder)
    if not isinstance(facts, RunFacts):
        state = "is not finished" if facts else "is not trained"
        raise WeightsError(f"{folder} {state}; run python -m melanoma.train")
    for name, expected in facts.files.items():
        if not (folder / name).is_file():
            raise WeightsError(f"{folder / name} is missing; --resume never trains it again")
        digest = sha256_of(folder / name)
        if digest != expected:
            raise WeightsError(
                f"{folder / name}: sha256 mismatch (expected {expected[:12]}, found {digest[:12]})"
            )
    try:
        classes = read_recipe(folder).classes
        return FoldRun(folder, load_scores(folder / "oof.csv", classes), facts)
    except DataError as error:
        raise WeightsError(str(error)) from error
