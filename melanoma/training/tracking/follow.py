"""Tracking a fold's run elsewhere, when it is asked for, and never at training's cost.

metrics.jsonl in the run folder is not a tracker: the loop writes it itself, and it is complete
whatever happens here. A tracker that fails, or does not answer in time, is told no more; that is
said once.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from melanoma.errors import InterruptedRun
from melanoma.recipe.recipe import Recipe
from melanoma.training.run.facts import RunFacts, RunStart
from melanoma.training.watchers import EpochRecord, Watchers

_START_SECONDS = 60.0  # importing mlflow and making the tables of a new database take several
_CALL_SECONDS = 10.0


class Tracker(Protocol):
    """What is told of a run. Any method may raise or hang; `follow` bears with both."""

    name: str

    def start(self, facts: RunStart, recipe: Recipe, history: list[EpochRecord]) -> None:
        """Before the first batch; `history` are the epochs before a resumed one."""

    def epoch(self, record: EpochRecord) -> None:
        """After each epoch, with its line of metrics.jsonl."""

    def finish(self, facts: RunFacts | None, *, status: str) -> None:
        """At the end: FINISHED, or without facts KILLED (to be resumed) or FAILED."""


@contextmanager
def follow(
    trackers: Sequence[Tracker],
    watchers: Watchers,
    recipe: Recipe,
    *,
    start_seconds: float = _START_SECONDS,
    call_seconds: float = _CALL_SECONDS,
) -> Iterator[Watchers]:
    """The watchers to train with, so that the trackers are told too.

    Leaving by an exception tells the trackers how the run ended, if it was begun. Training waits
    for each at most `start_seconds` at first and `call_seconds` later, and only once that long.
    """
    if not trackers:
        yield watchers
        return
    guards = [_Guard(tracker, watchers.say, call_seconds) for tracker in trackers]

    def epoch(record: EpochRecord) -> None:
        watchers.epoch(record)
        for guard in guards:
            guard.call(guard.tracker.epoch, record)

    def start(facts: RunStart, history: list[EpochRecord]) -> None:
        watchers.start(facts, history)
        for guard in guards:
            guard.running = True
            arguments = (facts, recipe, list(history))
            guard.call(guard.tracker.start, *arguments, seconds=start_seconds)

    def finish(facts: RunFacts) -> None:
        watchers.finish(facts)
        for guard in guards:
            guard.end(facts, "FINISHED")

    try:
        yield replace(watchers, start=start, epoch=epoch, finish=finish)
    except BaseException as error:
        stopped = isinstance(error, InterruptedRun | KeyboardInterrupt)
        for guard in guards:
            guard.end(None, "KILLED" if stopped else "FAILED")
        raise


class _Guard:
    """Calls the tracker with a bound on time; the first failure is said, and is the last call."""

    def __init__(self, tracker: Tracker, say: Callable[[str], None], seconds: float) -> None:
        self.tracker, self.say, self.seconds = tracker, say, seconds
        self.running, self.given_up = False, False

    def end(self, facts: RunFacts | None, status: str) -> None:
        if self.running:
            self.call(partial(self.tracker.finish, status=status), facts)
        self.running = False

    def call(
        self, method: Callable[..., None], *arguments: Any, seconds: float | None = None
    ) -> None:
        # In a thread, since a socket may hang longer than any time-out says; waited for, so that no
        # loader forks its workers in the midst of the tracker's work.
        if self.given_up:
            return
        seconds = seconds or self.seconds
        failures: list[BaseException] = []

        def attempt() -> None:
            try:
                method(*arguments)
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=attempt, name="tracking", daemon=True)
        thread.start()
        thread.join(seconds)
        if thread.is_alive():
            self._give_up(f"no answer in {seconds:g} s")
        elif failures:
            self._give_up(_reason(failures[0]))

    def _give_up(self, reason: str) -> None:
        self.given_up = True
        self.say(
            f"warning: {self.tracker.name}: {reason}; training goes on without it, "
            "metrics.jsonl has every epoch"
        )


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    # A URI may carry a password.
    return re.sub(r"//[^/@\s]+@", "//", text)[:200]
