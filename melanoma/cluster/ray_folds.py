"""Folds on a Ray cluster: a task a fold, which goes on elsewhere when its node is lost.

A task works in WEIGHTS/fold_N as the command does without Ray, which all nodes must see; or, with
`states`, in a copy of its own that it keeps in that storage, from where the command takes it.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from melanoma.cluster.fold_task import Order, Outcome, fit_order, stored_fold
from melanoma.cluster.held_array import arrays_of, stored_pixels
from melanoma.cluster.ray_session import here, node_resources, read_resources
from melanoma.errors import InterruptedRun, MelanomaError
from melanoma.recipe.recipe import Recipe
from melanoma.training.fold_data import FoldData
from melanoma.training.run.run_folder import FoldRun, clear_run, fold_folder, hold, load_run
from melanoma.training.run.signals import Interruption
from melanoma.training.seeds import clear_seeds
from melanoma.workflows.watch import SILENT, Watch

_RETRIES = 20  # of a fold whose node is lost
_POLL_SECONDS = 0.5
_LET_SAVE_SECONDS = 60.0


class _Lines:
    """Where all tasks say what they say; the command reads it."""

    def __init__(self) -> None:
        self._lines: list[tuple[str, Any]] = []

    def add(self, kind: str, value: Any) -> None:
        self._lines.append((kind, value))

    def take(self) -> list[tuple[str, Any]]:
        taken, self._lines = self._lines, []
        return taken


def train_on_ray(
    ray: Any,
    recipe: Recipe,
    parts: Sequence[FoldData],
    weights: Path,
    *,
    arrays: Path,
    states: str | None = None,
    per_task: str | None = None,
    device: str = "auto",
    resume: bool = True,
    force_resume: bool = False,
    track: Sequence[str] | str | None = None,
    watch: Watch = SILENT,
) -> list[FoldRun]:
    """The folds' runs in WEIGHTS, as train_fold gives them, trained on the cluster's nodes.

    A fold that fails does not keep the others from their end; its error is raised then. Raises
    InterruptedRun when a signal comes, with the states saved.
    """
    resources = read_resources(per_task, node_resources(ray), gpu=device != "cpu")
    weights = weights.resolve()
    with _token(weights) as token:
        orders = [
            Order(
                recipe,
                part,
                weights,
                token,
                states,
                arrays.resolve(),
                device,
                force_resume,
                track,
                max(1, int(resources.get("CPU", 1))),
                Path.cwd(),
            )
            for part in parts
        ]
        _prepare(orders, resume=resume)
        outcomes = _Tasks(ray, resources, watch).run(orders)
    for outcome in outcomes:
        if outcome.error:
            raise _raised(outcome)
    if states is not None:
        for order in orders:
            stored_fold(order, fold_folder(weights, order.part.fold)).pull()
    return [load_run(fold_folder(weights, part.fold)) for part in parts]


@contextlib.contextmanager
def _token(weights: Path) -> Iterator[str]:
    weights.mkdir(parents=True, exist_ok=True)
    name = f".ray-{secrets.token_hex(8)}"
    (weights / name).touch()
    try:
        yield name
    finally:
        (weights / name).unlink(missing_ok=True)


def _prepare(orders: Sequence[Order], *, resume: bool) -> None:
    """Forget earlier runs where that is asked for: once, and here, for a task that is tried again
    must not forget what it had. Earlier runs that `states` does not know are put there."""
    for order in orders:
        folder = fold_folder(order.weights, order.part.fold)
        with hold(folder, needed=0):
            if not resume:
                clear_seeds(folder)
                clear_run(folder)
            if order.states is not None:
                stored = stored_fold(order, folder)
                if not resume or stored.is_empty:
                    stored.push()


def _raised(outcome: Outcome) -> MelanomaError:
    error = MelanomaError(outcome.error)
    error.exit_code = outcome.exit_code
    return error


class _Tasks:
    """The tasks on their way, and what they say."""

    def __init__(self, ray: Any, resources: dict[str, float], watch: Watch) -> None:
        self.ray, self.watch = ray, watch
        # Where its process ends a few lines may be unsaid; no fold ends for it.
        lines = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(_Lines)
        self.lines = lines.options(scheduling_strategy=here(ray)).remote()
        self.fit = ray.remote(
            num_cpus=resources.get("CPU", 0),
            num_gpus=resources.get("GPU", 0),
            max_retries=_RETRIES,
        )(fit_order)
        self.pixels: dict[int, Any] = {}  # of the folds' arrays that a node lacks
        self.pending: dict[Any, Order] = {}

    def run(self, orders: Sequence[Order]) -> list[Outcome]:
        """How each ended, in the orders' order."""
        outcomes: dict[int, Outcome] = {}
        with Interruption.watch() as interruption:
            for order in orders:
                self._start(order)
            while self.pending:
                done, _ = self.ray.wait(list(self.pending), timeout=_POLL_SECONDS)
                self._say_lines()
                for task in done:
                    order = self.pending.pop(task)
                    outcome = self._outcome(task, order)
                    if outcome.absent:
                        self._put_pixels(order, outcome.absent)
                        self._start(order)
                    else:
                        outcomes[outcome.fold] = outcome
                if interruption.signal_number is not None:
                    self._cancel(interruption.signal_number)
        self._say_lines()
        return [outcomes[order.part.fold] for order in orders]

    def _start(self, order: Order) -> None:
        self.pending[self.fit.remote(order, self.pixels, self.lines)] = order

    def _put_pixels(self, order: Order, absent: Sequence[int]) -> None:
        if not self.pixels:
            self.watch.say("a node does not see the array: it gets it from Ray's object store")
        for number in absent:
            if number not in self.pixels:
                pixels = stored_pixels(arrays_of(order.part)[number])
                self.pixels[number] = self.ray.put(pixels)

    def _outcome(self, task: Any, order: Order) -> Outcome:
        try:
            outcome: Outcome = self.ray.get(task)
        except self.ray.exceptions.RayError as error:
            text = " ".join(str(error).split())[:300]
            return Outcome(order.part.fold, error=f"fold {order.part.fold}: {text}", exit_code=1)
        if outcome.error:
            self.watch.say(f"fold {outcome.fold} failed: {outcome.error}")
        return outcome

    def _say_lines(self) -> None:
        for kind, value in self.ray.get(self.lines.take.remote()):
            if kind != "end":
                (self.watch.epoch if kind == "epoch" else self.watch.say)(value)

    def _cancel(self, number: int) -> None:
        # As Ctrl-C in the task: it saves its state and ends.
        for task in self.pending:
            self.ray.cancel(task, force=False)
        self.ray.wait(list(self.pending), num_returns=len(self.pending), timeout=_LET_SAVE_SECONDS)
        self._say_lines()
        raise InterruptedRun(
            "interrupted; the folds' states are saved, the same command resumes",
            signal_number=number,
        )
