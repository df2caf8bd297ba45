"""One fold's Ray task: where it works, what array it reads, what it says and how it ends."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from melanoma.cluster.held_array import arrays_of, hold_array, is_here, with_arrays
from melanoma.cluster.stored_folder import StoredFolder
from melanoma.errors import MelanomaError, RecipeError
from melanoma.recipe.recipe import Recipe
from melanoma.training.fold_data import FoldData
from melanoma.training.run.run_folder import fold_folder
from melanoma.types import Pixels
from melanoma.workflows.train import train_fold
from melanoma.workflows.watch import Watch

_FREE_SECONDS = 60.0  # that a lost node's process may take to end


@dataclass(frozen=True)
class Order:
    """One fold's task: what it trains, where, and with what."""

    recipe: Recipe
    part: FoldData
    weights: Path
    token: str  # a file in `weights` that a node which sees the folder finds
    states: str | None
    arrays: Path
    device: str
    force_resume: bool
    track: Sequence[str] | str | None
    threads: int
    folder: Path  # the driver's own


@dataclass(frozen=True)
class Outcome:
    """How a task ended: well, without arrays (their numbers in arrays_of), or with an error's text
    and exit code."""

    fold: int
    absent: tuple[int, ...] = ()
    error: str = ""
    exit_code: int = 0


def stored_fold(order: Order, local: Path) -> StoredFolder:
    """The fold's folder in the order's storage, copied to `local`."""
    assert order.states is not None
    return StoredFolder(f"{order.states.rstrip('/')}/fold_{order.part.fold}", local)


def fit_order(order: Order, held: Mapping[int, Any], lines: Any) -> Outcome:
    """The fold trained on this node; in a Ray task. `held` are arrays in Ray's store."""
    from melanoma.cluster.ray_session import import_ray

    ray = import_ray()
    fold = order.part.fold
    try:
        absent = [n for n, array in enumerate(arrays_of(order.part)) if not is_here(array)]
        if unheld := tuple(number for number in absent if number not in held):
            return Outcome(fold, absent=unheld)
        part = _with_held(order.part, {number: ray.get(held[number]) for number in absent})
        _settle(order)

        def say(line: str) -> None:
            lines.add.remote("say", line)

        node = ray.get_runtime_context().get_node_id()[:8]
        say(f"fold {fold}: on node {node} at {ray.util.get_node_ip_address()}")
        watch = Watch(say=say, epoch=lambda record: lines.add.remote("epoch", record))
        with _weights(order) as (weights, saved):
            _wait_until_free(fold_folder(weights, fold))
            train_fold(
                order.recipe,
                part,
                weights,
                arrays=order.arrays,
                device=order.device,
                force_resume=order.force_resume,
                track=order.track,
                watch=replace(watch, saved=saved),
            )
        ray.get(lines.add.remote("end", None))  # what was said before has come by then
        return Outcome(fold)
    except MelanomaError as error:
        return Outcome(fold, error=str(error), exit_code=error.exit_code)


def _with_held(part: FoldData, pixels: Mapping[int, Pixels]) -> FoldData:
    """The fold with these pixels for arrays that are not here, by their numbers in arrays_of."""
    arrays = arrays_of(part)
    for number, values in pixels.items():
        arrays[number] = hold_array(arrays[number], values)
    return with_arrays(part, arrays)


def _settle(order: Order) -> None:
    """Paths of the recipe mean what they mean to the command, where this node has its folder."""
    import torch

    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    if order.folder.is_dir():
        os.chdir(order.folder)
    torch.set_num_threads(order.threads)


@contextlib.contextmanager
def _weights(order: Order) -> Iterator[tuple[Path, Callable[[], None]]]:
    """Where the task works, and what to call when a state is saved there."""
    if order.states is None:
        if not (order.weights / order.token).is_file():
            raise RecipeError(
                f"a node does not see {order.weights}; name a folder that all nodes see with "
                "--weights, or storage with --states (s3://bucket/runs, or a path)"
            )
        yield order.weights, lambda: None
        return
    with tempfile.TemporaryDirectory(prefix="melanoma-") as scratch:
        folder = fold_folder(Path(scratch), order.part.fold)
        stored = stored_fold(order, folder)
        stored.pull()
        try:
            yield Path(scratch), stored.push
        finally:
            stored.push()


def _wait_until_free(folder: Path) -> None:
    """A lost node's process may end a little later than its node."""
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(Timeout), FileLock(folder / ".lock").acquire(timeout=_FREE_SECONDS):
        pass
