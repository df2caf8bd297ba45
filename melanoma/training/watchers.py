"""Watchers: how a caller looks on while a fold is trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from melanoma.training.run.facts import RunFacts, RunStart

EpochRecord = dict[str, Any]  # an epoch's line of metrics.jsonl


@dataclass(frozen=True)
class Watchers:
    """How a caller looks on: said once, told at the ends and each epoch, shown each step.

    `start` is told the run's facts and, of a resumed run, the epochs before; `finish` the facts;
    `saved` that the folder has a new state.
    """

    say: Callable[[str], None] = lambda _: None
    start: Callable[[RunStart, list[EpochRecord]], None] = lambda _facts, _history: None
    finish: Callable[[RunFacts], None] = lambda _: None
    epoch: Callable[[EpochRecord], None] = lambda _: None
    bar: Callable[[int, int, str], Callable[[], None]] = lambda _total, _done, _what: lambda: None
    saved: Callable[[], None] = lambda: None
