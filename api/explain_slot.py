"""LIME's slot: one explanation at a time, within its deadline, while somebody waits for it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol, TypeVar

from api.error_answers import Refusal
from melanoma.devices import step_back

_LEAVING = "the service is being stopped; ask again in a moment"

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

DEADLINE_SECONDS = 60.0
_POLL_SECONDS = 0.1
# A caller who cancels and asks again comes before the slot has noticed. So long the next one waits
# to see whether the slot is being freed, and once it is, so long for the step under way.
_NOTICE_SECONDS = 0.3
_ENDING_SECONDS = 3.0
# A third of a score's weight where both want the processor. Not less: whoever is pushed aside while
# he holds Python's lock keeps everybody else waiting, the event loop too.
_NICENESS = 5
# While scores wait, a step is followed by a rest of so many times its length.
_REST = 4.0
_LONGEST_REST = 2.0


class Explaining(Protocol[R_co]):
    """What the slot runs: explain_lime with everything else filled in."""

    def __call__(self, *, deadline: float, should_stop: Callable[[], bool]) -> R_co: ...


class ExplainSlot:
    """Runs one function at a time, in a thread of low priority; refuses the others.

    Scores go before explanations: the slot's thread, and those that torch starts for it, have a
    lower priority, and it rests between its steps while `others_wait`.
    """

    def __init__(
        self,
        *,
        deadline: float = DEADLINE_SECONDS,
        others_wait: Callable[[], bool] = lambda: False,
    ) -> None:
        self.deadline, self._others_wait = deadline, others_wait
        self._taken = threading.Lock()
        self._stop = threading.Event()  # the running function's, or the last one's
        self._leaving = threading.Event()
        self._thread = ThreadPoolExecutor(
            1, thread_name_prefix="explaining", initializer=step_back, initargs=(_NICENESS,)
        )

    @property
    def busy(self) -> bool:
        """Whether an explanation is being made."""
        return self._taken.locked()

    def leave(self) -> None:
        """The service is ending: what runs is stopped, and no other begins. From any thread."""
        self._leaving.set()
        self._stop.set()

    async def run(
        self,
        function: Explaining[R],
        *,
        disconnected: Callable[[], Awaitable[bool]] | None = None,
    ) -> R:
        """What `function` returns. It is told to stop when `disconnected` says that nobody waits
        any more, or when this call is cancelled; the slot is free when it has really ended.

        Raises Refusal when the slot is taken or the service is ending, and whatever the function
        raises.
        """
        if self._leaving.is_set():
            raise Refusal("not_ready", _LEAVING)
        if not await self._take():
            raise Refusal("busy", "another explanation is being made; try again in a moment")
        stop = self._stop = threading.Event()
        if self._leaving.is_set():  # told so since the first look
            stop.set()
        should_stop = _Steps(stop, self._others_wait)
        future = self._thread.submit(function, deadline=self.deadline, should_stop=should_stop)
        future.add_done_callback(self._free)
        try:
            work = asyncio.wrap_future(future)
            while not (await asyncio.wait([work], timeout=_POLL_SECONDS))[0]:
                if disconnected is not None and not stop.is_set() and await disconnected():
                    stop.set()
            try:
                return work.result()
            except Exception as error:
                if self._leaving.is_set():
                    raise Refusal("not_ready", _LEAVING) from error
                raise
        finally:
            stop.set()

    async def _take(self) -> bool:
        """Whether the slot is ours: one that is being freed is waited for, one at work is not."""
        start = time.monotonic()
        while not self._taken.acquire(blocking=False):
            most = _ENDING_SECONDS if self._stop.is_set() else _NOTICE_SECONDS
            if time.monotonic() - start > most:
                return False
            await asyncio.sleep(_POLL_SECONDS / 4)
        return True

    def _free(self, _: Future[R]) -> None:
        self._taken.release()


class _Steps:
    """What the function calls between its steps: says whether to stop, and rests for the scores."""

    def __init__(self, stop: threading.Event, others_wait: Callable[[], bool]) -> None:
        self._stop, self._others_wait = stop, others_wait
        self._since = time.monotonic()

    def __call__(self) -> bool:
        now = time.monotonic()
        until = now + min(_LONGEST_REST, _REST * (now - self._since))
        while self._others_wait() and (left := until - time.monotonic()) > 0:
            if self._stop.wait(min(left, _POLL_SECONDS)):
                break
        self._since = time.monotonic()
        return self._stop.is_set()
