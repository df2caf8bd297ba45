"""The desk: the served bundles by name, the queue before them, and whether they are ready."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Protocol, TypeVar

import anyio
import numpy as np

from api.limits import ScoringQueue
from api.metrics import Metrics
from api.refusals import Refusal
from melanoma.scoring.lime import PRECISIONS
from melanoma.scoring.scorer import Prediction, Scorer

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
LIME_SECONDS = 60.0
_POLL_SECONDS = 0.1


class Explaining(Protocol[R_co]):
    """An explanation with everything but these two filled in."""

    def __call__(self, *, deadline: float, should_stop: Callable[[], bool]) -> R_co: ...


class Desk:
    """The scorers by name, the queue before them, and whether each has given a score."""

    def __init__(
        self,
        scorers: Sequence[Scorer],
        *,
        waiting: int,
        lime_seconds: float = LIME_SECONDS,
    ) -> None:
        self.scorers = {scorer.bundle.name: scorer for scorer in scorers}
        self.queue = ScoringQueue(waiting=waiting)
        self.ready = False
        self.durations = Durations()
        self.metrics = Metrics()
        self._lime_seconds = lime_seconds
        self._explaining = threading.Lock()
        self._drawing = anyio.Semaphore(1)
        self._drawings, self._most_drawings = 0, waiting + 1
        self.metrics.watch(
            self.scorers, queue_length=lambda: self.present, ready=lambda: self.ready
        )

    @property
    def present(self) -> int:
        """Photographs that are accepted and not answered yet."""
        return self.queue._present

    def choose(self, name: str | None) -> Scorer:
        """The scorer of that name, or the first. Raises Refusal listing the names."""
        if name is None:
            return next(iter(self.scorers.values()))
        if name not in self.scorers:
            raise Refusal("unknown_model", f"no such model; served: {', '.join(self.scorers)}")
        return self.scorers[name]

    def warm_up(self) -> None:
        """Score one gray square with every scorer; ready when none raised."""
        for scorer in self.scorers.values():
            size = scorer.bundle.size
            scorer.score_squares(np.full((1, size, size, 3), 128, dtype=np.uint8))
        self.ready = True

    async def score(
        self, scorer: Scorer, photographs: Sequence[bytes]
    ) -> list[Prediction | Exception]:
        """A Prediction for each photograph, in their order, or the exception that it met.

        Raises Refusal when there is no room.
        """
        return await self.queue.run(self._score_each, scorer, photographs)

    def _score_each(
        self, scorer: Scorer, photographs: Sequence[bytes]
    ) -> list[Prediction | Exception]:
        outcomes: list[Prediction | Exception] = []
        for data in photographs:
            self.metrics.count_batch(1, scorer.bundle.name)
            try:
                outcomes.append(scorer.score(data))
            except Exception as error:
                outcomes.append(error)
        return outcomes

    async def explain(
        self,
        function: Explaining[R],
        *,
        disconnected: Callable[[], Awaitable[bool]] | None = None,
    ) -> R:
        """What `function` returns, one at a time, beside the queue. It is told to stop when
        `disconnected` says that nobody waits any more.

        Raises Refusal when another runs, and whatever the function raises.
        """
        if not self._explaining.acquire(blocking=False):
            raise Refusal("busy", "another explanation is being made; try again in a moment")
        stop = threading.Event()

        def work() -> R:
            # In the thread: the slot is free when the work has ended, not when nobody waits.
            try:
                return function(deadline=self._lime_seconds, should_stop=stop.is_set)
            finally:
                self._explaining.release()

        running = asyncio.get_running_loop().run_in_executor(None, work)
        try:
            while not (await asyncio.wait([running], timeout=_POLL_SECONDS))[0]:
                if disconnected is not None and not stop.is_set() and await disconnected():
                    stop.set()
            return running.result()
        finally:
            stop.set()

    @asynccontextmanager
    async def drawing(self) -> AsyncGenerator[None, None]:
        """A place for a photograph that is decoded, explained by Grad-CAM and drawn: one at a
        time holds its pixels. Raises Refusal when as many wait as may."""
        if self._drawings >= self._most_drawings:
            raise Refusal("busy", "too many photographs are waiting; try again in a moment")
        self._drawings += 1
        try:
            async with self._drawing:
                yield
        finally:
            self._drawings -= 1


class Durations:
    """How long LIME took here, by bundle and precision."""

    def __init__(self) -> None:
        self._seconds: dict[tuple[str, str], float] = {}

    def note(self, model: str, precision: str, seconds: float) -> None:
        """Keep the latest."""
        self._seconds[model, precision] = seconds

    def expect(self, model: str, precision: str) -> float | None:
        """The latest of that precision, or in proportion to another's; None before any."""
        for other in (precision, *PRECISIONS):
            seconds = self._seconds.get((model, other))
            if seconds is not None:
                return seconds * PRECISIONS[precision] / PRECISIONS[other]
        return None
