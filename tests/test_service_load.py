"""benchmarks/service.py's load: what it counts as answers a second."""

from __future__ import annotations

import asyncio
import time
from typing import cast

import pytest

from benchmarks.service import Callers, Tally, ask_at_rate

EACH = 0.02  # seconds of an answer


class Slow:
    """A server that answers one after another, and refuses nobody."""

    def __init__(self) -> None:
        self.turn = asyncio.Lock()

    async def ask(self, tally: Tally) -> int:
        begun = time.perf_counter()
        async with self.turn:
            await asyncio.sleep(EACH)
        tally.note(200, time.perf_counter() - begun)
        return 200

    async def look(self, tally: Tally) -> int:
        tally.note(200, 0.0)
        return 200


def test_what_had_queued_counts_with_the_time_that_it_takes() -> None:
    async def measure() -> float:
        callers = cast(Callers, Slow())
        tally, _, lasted = await ask_at_rate(callers, rate=3 / EACH, seconds=0.4)
        found = tally.summary(lasted)["answers_per_second"]
        assert tally.summary(0.4)["answers_per_second"] == pytest.approx(3 / EACH, rel=0.05)
        return float(found)

    assert asyncio.run(measure()) <= 1 / EACH
