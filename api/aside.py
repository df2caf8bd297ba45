"""Threads beside the event loop, behind it where both want the processor."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from melanoma.devices import step_back

P = ParamSpec("P")
R = TypeVar("R")

# The loop, which answers everybody, gets the processor at once. Not more: where one of these is
# pushed aside by another program while it holds Python's lock, the loop waits for it.
NICENESS = 2
# Of all that is neither decoded for a score nor scored: base64, hashes, reports, drawings. One that
# waits for room to decode leaves two to the others.
_THREADS = 3


def make_pool(threads: int, name: str) -> ThreadPoolExecutor:
    """So many threads of that name, of a lower priority than the loop's."""
    return ThreadPoolExecutor(
        threads, thread_name_prefix=name, initializer=step_back, initargs=(NICENESS,)
    )


_ASIDE = make_pool(_THREADS, "aside")


async def run_aside(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """What `function` returns, from one of a few threads that all requests share."""
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_ASIDE, lambda: function(*args, **kwargs))
