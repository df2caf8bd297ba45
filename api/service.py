"""The service: the served bundles by name, and where their scores and explanations are made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

import anyio

from api.aside import run_aside
from api.batching import MicroBatcher, Outcome
from api.bodies import MEGABYTE, Bodies
from api.decoding import start_decoding
from api.error_answers import Refusal
from api.explain_slot import Explaining, ExplainSlot
from api.explanation_costs import Costs
from api.prometheus import Metrics
from api.readiness import Readiness
from api.reports import Reports
from api.settings import Settings
from api.versions import find_scorer, name_scorers
from melanoma.data.images import Photograph
from melanoma.scoring.explain.pictures import import_drawing
from melanoma.scoring.scorer import Scorer

R = TypeVar("R")


class Service:
    """The scorers by name, the batches and the slot that they work in, and whether they may."""

    def __init__(self, scorers: Sequence[Scorer], settings: Settings) -> None:
        self.scorers = name_scorers(scorers)
        self._labels = {id(scorer): label for label, scorer in self.scorers.items()}
        self.metrics = Metrics()
        self.batcher = MicroBatcher(
            waiting=settings.queue,
            largest=settings.batch,
            wait=settings.batch_wait_ms / 1000,
            on_batch=lambda size, scorer: self.metrics.count_batch(size, self.label(scorer)),
        )
        self.slot = ExplainSlot(
            deadline=settings.lime_seconds, others_wait=lambda: self.batcher.present > 0
        )
        self.bodies = Bodies(most=settings.body_mb * MEGABYTE, seconds=settings.body_seconds)
        self.readiness = Readiness(on_leave=self._leave)
        self.costs = Costs(deadline=settings.lime_seconds)
        self.reports = Reports()
        self.settled: Callable[[], None] = lambda: None  # called when all that starts has started
        self._measuring: asyncio.Task[None] | None = None
        self._drawing = anyio.Semaphore(1)
        self._drawings, self._most_drawings = 0, settings.queue + 1
        self.metrics.watch(
            self.scorers,
            queue_length=lambda: self.batcher.present,
            ready=lambda: self.readiness.ready,
        )

    def _leave(self) -> None:
        # Scores in flight are answered; an upload has a moment left, LIME's minute has none.
        self.bodies.leave()
        self.slot.leave()

    def choose(self, name: str | None) -> Scorer:
        """The scorer of NAME@VERSION, the newest of NAME, or the first. Raises Refusal listing
        the names."""
        if name is None:
            return next(iter(self.scorers.values()))
        scorer = find_scorer(self.scorers, name)
        if scorer is None:
            raise Refusal("unknown_model", f"no such model; served: {', '.join(self.scorers)}")
        return scorer

    def label(self, scorer: Scorer) -> str:
        """What metrics and the log call it: NAME, or NAME@VERSION of several versions."""
        return self._labels.get(id(scorer), scorer.bundle.name)

    async def score(
        self, scorer: Scorer, photographs: Sequence[bytes | Photograph]
    ) -> list[Outcome]:
        """A Prediction for each photograph, or the exception that it met. Raises Refusal."""
        self.readiness.require(scorer)
        return await self.batcher.score(scorer, photographs)

    async def explain(
        self, function: Explaining[R], *, disconnected: Callable[[], Awaitable[bool]]
    ) -> R:
        """What LIME's `function` returns, in its slot. Raises Refusal when another runs."""
        return await self.slot.run(function, disconnected=disconnected)

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

    async def check(self) -> None:
        """Ask every scorer for its golden score, in the thread that will score. What only
        explanations need is done behind it: a service that can score need not wait for that."""
        start_decoding()
        await self.batcher.run(self.readiness.check, self.scorers)
        self._measuring = asyncio.create_task(self._prepare_explanations())

    async def know_costs(self) -> None:
        """Wait until LIME has been timed, about a second after the start."""
        if self._measuring is not None:
            await asyncio.shield(self._measuring)

    async def _prepare_explanations(self) -> None:
        await run_aside(import_drawing)
        if self.readiness.ready:
            await self.batcher.run_unplaced(self.costs.measure, self.scorers)
        self.settled()
