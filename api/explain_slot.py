"""LIME's slot: one explanation at a time, within its deadline, while somebody waits for it."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol, TypeVar

from api.errors import Refusal

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

DEADLINE_SECONDS = 60.0
_POLL_SECONDS = 0.1
# A thirtieth of a score's weight where both want the processor: at 10 the scores beside it take
# half as long again, at 19 it would stand still beside whatever else the machine does.
_NICENESS = 15


class Explaining(Protocol[R_co]):
    """What the slot runs: explain_lime with everything else filled in."""

    def __call__(self, *, deadline: float, should_stop: Callable[[], bool]) -> R_co: ...


class ExplainSlot:
    """Runs one function at a time, in a thread of low priority; refuses the others.

    Scores go before explanations: the slot's thread, and those that torch starts for it, get what
    the scores leave of the processors.
    """

    def __init__(self, *, deadline: float = DEADLINE_SECONDS) -> None:
        self.deadline = deadline
        self._taken = threading.Lock()
        self._thread = ThreadPoolExecutor(
            1, thread_name_prefix="explaining", initializer=_step_back
        )

    @property
    def busy(self) -> bool:
        """Whether an explanation is being made."""
        return self._taken.locked()

    async def run(
        self,
        function: Explaining[R],
        *,
        disconnected: Callable[[], Awaitable[bool]] | None = None,
    ) -> R:
        """What `function` returns. It is told to stop when `disconnected` says that nobody waits
        any more, or when this call is cancelled; the slot is free when it has really ended.

        Raises Refusal when the slot is taken, and whatever the function raises.
        """
        if not self._taken.acquire(blocking=False):
            raise Refusal("busy", "another explanation is being made; try again in a moment")
        stop = threading.Event()
        future = self._thread.submit(function, deadline=self.deadline, should_stop=stop.is_set)
        future.add_done_callback(self._free)
        try:
            work = asyncio.wrap_future(future)
            while not (await asyncio.wait([work], timeout=_POLL_SECONDS))[0]:
                if disconnected is not None and not stop.is_set() and await disconnected():
                    stop.set()
            return work.result()
        finally:
            stop.set()

    def _free(self, _: Future[R]) -> None:
        self._taken.release()


def _step_back() -> None:
    # Each of Linux's threads has a priority of its own, which the threads it starts inherit.
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
