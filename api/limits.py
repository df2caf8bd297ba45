"""Limits: how large a body may be, how many scores run at once, how many requests may wait."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import ParamSpec, TypeVar

import anyio
import anyio.to_thread
from fastapi import Request

from api.refusals import Refusal
from melanoma.data.images import MAX_BYTES

P = ParamSpec("P")
R = TypeVar("R")

_OVERHEAD = 64 * 1024  # boundaries, part headers, small form fields, JSON around the base64
FORM_BYTES = MAX_BYTES + _OVERHEAD
JSON_BYTES = 4 * -(-MAX_BYTES // 3) + _OVERHEAD
TOO_LARGE = f"the request is too large; a photograph may have {MAX_BYTES:,} bytes"


async def bounded(
    request: Request, limit: int, too_large: str = TOO_LARGE
) -> AsyncGenerator[bytes, None]:
    """The body's chunks. Raises Refusal before the first when the header declares too many
    bytes, and in mid-stream when too many come."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise Refusal("too_large", too_large)
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise Refusal("too_large", too_large)
        yield chunk


class ScoringQueue:
    """One score at a time in a worker thread, a bounded number waiting, the rest refused."""

    def __init__(self, *, waiting: int) -> None:
        self._room = waiting + 1
        self._present = 0
        self._one = anyio.CapacityLimiter(1)

    def require_room(self) -> None:
        """Raise Refusal when as many requests are waiting as may."""
        if self._present >= self._room:
            raise Refusal("busy", "too many photographs are waiting; try again in a moment")

    async def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """What `function` returns, off the event loop. Raises Refusal when there is no room."""
        self.require_room()
        self._present += 1
        try:
            return await anyio.to_thread.run_sync(
                lambda: function(*args, **kwargs), limiter=self._one
            )
        finally:
            self._present -= 1
