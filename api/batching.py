"""Scoring off the event loop: photographs are decoded in two pools and scored in batches.

One thread a process runs the networks. Photographs that are accepted together are scored together,
so that under load the cost of a batch is shared; a single request is not delayed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import ParamSpec, TypeAlias, TypeVar

import numpy as np

from api.aside import make_pool
from api.decoding import DECODERS, decode_square
from api.error_answers import Refusal
from melanoma.data.images import Photograph, Pixels, count_pixels
from melanoma.scoring.prediction import Prediction
from melanoma.scoring.scorer import Scorer

P = ParamSpec("P")
R = TypeVar("R")
Outcome: TypeAlias = Prediction | Exception

LARGEST = 8
WAIT_SECONDS = 0.005
# Callers give up after about as long; a score that nobody waits for costs those behind it.
PATIENCE_SECONDS = 10.0
# Photographs of more pixels are decoded one at a time, in a pool of their own: seconds and
# hundreds of megabytes each, they keep neither the others nor the memory waiting.
BIG_PIXELS = 16_000_000
_BIG_SHARE = 4  # at most one place in so many is a big photograph's
_BUSY = "too many photographs are waiting; try again in a moment"


@dataclass(frozen=True)
class _Item:
    """A square that waits for its score; `since` is the event loop's time, and `patience` ends the
    wait."""

    scorer: Scorer
    square: Pixels
    warnings: tuple[str, ...]
    answer: asyncio.Future[Outcome]
    since: float
    patience: asyncio.Timeout


class MicroBatcher:
    """A bounded number of photographs, decoded in parallel and scored in batches.

    `waiting` photographs may wait while one is scored; the rest are refused at once. A batch has
    up to `largest` photographs of one scorer; where others are accepted but not decoded yet, it
    waits up to `wait` seconds for them. One that is not being scored after `patience` seconds
    is refused. `on_batch` is called with the size and the scorer.
    """

    def __init__(
        self,
        *,
        waiting: int,
        largest: int = LARGEST,
        wait: float = WAIT_SECONDS,
        patience: float = PATIENCE_SECONDS,
        on_batch: Callable[[int, Scorer], None] = lambda size, scorer: None,
    ) -> None:
        self.largest, self.wait, self.on_batch = largest, wait, on_batch
        self.patience = patience
        self._room = waiting + 1
        self._present = self._decoding = self._big = 0
        self._pending: deque[_Item] = deque()
        self._arrived = asyncio.Event()
        self._draining: asyncio.Task[None] | None = None
        self._decoders = make_pool(DECODERS, "decoding")
        self._big_decoder = make_pool(1, "decoding-big")
        # A thread of its own and always the same: torch keeps a team of threads for each caller.
        self._network = make_pool(1, "scoring")

    @property
    def present(self) -> int:
        """Photographs that are accepted and not answered yet."""
        return self._present

    def require_room(self, places: int = 1) -> None:
        """Raise Refusal when as many photographs are present as may be."""
        if self._present and self._present + places > self._room:
            raise Refusal("busy", _BUSY)

    async def score(
        self, scorer: Scorer, photographs: Sequence[bytes | Photograph]
    ) -> list[Outcome]:
        """A Prediction for each photograph, in their order, or the exception that it met.

        Raises Refusal when there is no room; a request takes no more places than a batch has, and
        hands in no more at a time: the others' photographs go in between.
        """
        places = min(len(photographs), self.largest)
        self.require_room(places)
        self._present += places
        try:
            outcomes: list[Outcome] = []
            for first in range(0, len(photographs), self.largest):
                part = photographs[first : first + self.largest]
                outcomes += await asyncio.gather(*(self._score_one(scorer, one) for one in part))
            return outcomes
        finally:
            self._present -= places

    async def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """What `function` returns, from the thread of the networks. Raises Refusal when full."""
        self.require_room()
        self._present += 1
        try:
            return await self.run_unplaced(function, *args, **kwargs)
        finally:
            self._present -= 1

    async def run_unplaced(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """The same for the service's own work: it takes no photograph's place."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._network, lambda: function(*args, **kwargs))

    async def _score_one(self, scorer: Scorer, photograph: bytes | Photograph) -> Outcome:
        try:
            async with asyncio.timeout(self.patience) as patience:
                return await self._decode_and_score(scorer, photograph, patience)
        except TimeoutError:
            return Refusal("busy", _BUSY)

    async def _decode_and_score(
        self, scorer: Scorer, photograph: bytes | Photograph, patience: asyncio.Timeout
    ) -> Outcome:
        loop = asyncio.get_running_loop()
        self._decoding += 1
        try:
            square, warnings = await self._prepare(scorer, photograph)
            item = _Item(scorer, square, warnings, loop.create_future(), loop.time(), patience)
            self._pending.append(item)
        except Exception as error:
            return error
        finally:
            self._decoding -= 1
            self._arrived.set()
        if self._draining is None or self._draining.done():
            self._draining = loop.create_task(self._drain())
        return await item.answer

    async def _prepare(
        self, scorer: Scorer, photograph: bytes | Photograph
    ) -> tuple[Pixels, tuple[str, ...]]:
        """The square and its warnings. Only squares wait: whole photographs are far larger."""
        loop = asyncio.get_running_loop()
        if isinstance(photograph, Photograph):
            return await loop.run_in_executor(self._decoders, _square, scorer, photograph)
        pixels = await loop.run_in_executor(self._decoders, count_pixels, photograph)
        if pixels <= BIG_PIXELS:
            return await loop.run_in_executor(self._decoders, decode_square, scorer, photograph)
        if self._big * _BIG_SHARE >= self._room:
            raise Refusal("busy", _BUSY)
        self._big += 1
        try:
            return await loop.run_in_executor(self._big_decoder, decode_square, scorer, photograph)
        finally:
            self._big -= 1

    async def _drain(self) -> None:
        """Score what is pending until nothing is; started again by the next to arrive."""
        loop = asyncio.get_running_loop()
        self._arrived = asyncio.Event()  # of this loop: a test may start several
        while self._pending:
            await self._wait_for_company()
            group = self._take()
            if not group:
                continue
            work = loop.run_in_executor(self._network, self._answer, group)
            for item, outcome in zip(group, await work, strict=True):
                if not item.answer.done():
                    item.answer.set_result(outcome)

    async def _wait_for_company(self) -> None:
        loop = asyncio.get_running_loop()
        until = self._pending[0].since + self.wait
        while self._decoding and len(self._pending) < self.largest and loop.time() < until:
            self._arrived.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._arrived.wait(), until - loop.time())

    def _take(self) -> list[_Item]:
        """The oldest item and those of its scorer, up to a batch; the rest keep their order."""
        # Whoever has gone in the meantime is left out.
        waiting = [item for item in self._pending if not item.answer.done()]
        group = [item for item in waiting if item.scorer is waiting[0].scorer][: self.largest]
        for item in group:
            if not item.patience.expired():
                item.patience.reschedule(None)
        taken = set(map(id, group))
        self._pending = deque(item for item in waiting if id(item) not in taken)
        return group

    def _answer(self, group: list[_Item]) -> list[Outcome]:
        try:
            return list(self._predict(group))
        except Exception as error:
            if len(group) == 1:
                return [error]
        # One by one: whatever spoiled the batch is one photograph's alone, or was its size. After
        # the except clause, so that the failed batch's memory is free.
        return [outcome for item in group for outcome in self._answer([item])]

    def _predict(self, group: list[_Item]) -> list[Prediction]:
        scorer = group[0].scorer
        self.on_batch(len(group), scorer)
        squares = np.stack([item.square for item in group])
        return scorer.score_squares(squares, [item.warnings for item in group])


def _square(scorer: Scorer, photograph: Photograph) -> tuple[Pixels, tuple[str, ...]]:
    return scorer.square(photograph.pixels), photograph.warnings
