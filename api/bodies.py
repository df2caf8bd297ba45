"""Bodies on their way in: how many bytes of them may lie in memory, and how long one may take."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from fastapi import Request

from api.error_answers import Refusal

MEGABYTE = 1_000_000
# Whoever is told to end has ten seconds from `docker stop`; a busy machine needs some for the rest.
LEAVING_SECONDS = 4.0
# The system hands over up to a quarter of a megabyte at once. Twenty uploads that come together
# would keep everybody else waiting for five of them in one step of the loop.
_LARGE_CHUNK = 32 * 1024

HELD = "melanoma.body"  # where the ASGI scope keeps a request's Body
_BUSY = "too many uploads are on their way; try again in a moment"
_LEAVING = "the service is ending; send the upload again, another answers in a moment"


class Bodies:
    """The bodies of all requests: `most` bytes together, `seconds` for each to arrive.

    Bytes count when they have come, not when they are announced: an announcement costs its sender
    nothing. They count until the request is answered, since so long they lie in memory.
    """

    def __init__(self, *, most: int, seconds: float) -> None:
        self.most, self.seconds = most, seconds
        self.held = 0
        self._ends: float | None = None  # by the loop's clock, once the service is leaving
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: set[asyncio.Timeout] = set()
        self._turns = asyncio.Lock()

    @property
    def leaving(self) -> bool:
        """Whether the service was told to end."""
        return self._ends is not None

    def leave(self) -> None:
        """Uploads that have not come LEAVING_SECONDS from now are refused. From any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._shorten, self._loop)

    def _shorten(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._ends is None:
            self._ends = loop.time() + LEAVING_SECONDS
        for timeout in self._waiting:
            timeout.reschedule(min(timeout.when() or self._ends, self._ends))

    async def take_turn(self, size: int) -> None:
        """After a chunk of `size` bytes: large ones come one at a time, each in a step of the loop
        of its own, with all others' requests in between."""
        if size >= _LARGE_CHUNK:
            async with self._turns:
                await asyncio.sleep(0)

    async def next_chunk(self, stream: AsyncGenerator[bytes, None], until: float) -> bytes | None:
        """The stream's next chunk, None at its end. Raises Refusal where it does not come."""
        self._loop = asyncio.get_running_loop()
        if self._ends is not None:
            until = min(until, self._ends)
        try:
            async with asyncio.timeout_at(until) as timeout:
                self._waiting.add(timeout)
                try:
                    return await anext(stream, None)
                finally:
                    self._waiting.discard(timeout)
        except TimeoutError:
            if self._ends is not None:
                raise Refusal("not_ready", _LEAVING) from None
            message = f"the upload has not come within {self.seconds:g} s"
            raise Refusal(
                "upload_timeout", f"{message}; send it again, or a smaller file"
            ) from None


class Body:
    """What one request's body holds of the bytes of all."""

    def __init__(self, bodies: Bodies) -> None:
        self._bodies, self._held = bodies, 0

    async def read(
        self, request: Request, limit: int, *, too_large: str
    ) -> AsyncGenerator[bytes, None]:
        """The body's chunks: the one place where its bytes are counted.

        Raises Refusal before the first chunk when the header declares too many bytes, or more than
        there is room for, and in mid-stream when as many come, or when they come too slowly.
        """
        declared = request.headers.get("content-length", "")
        if declared.isdigit():
            self._require(int(declared), limit, too_large)
        until = asyncio.get_running_loop().time() + self._bodies.seconds
        stream = request.stream()
        try:
            while (chunk := await self._bodies.next_chunk(stream, until)) is not None:
                self._require(len(chunk), limit, too_large)
                self._held += len(chunk)
                self._bodies.held += len(chunk)
                yield chunk
                await self._bodies.take_turn(len(chunk))
        except BaseException:
            self.let_go()  # the reader drops what it has
            raise

    def let_go(self) -> None:
        """The bytes are gone."""
        self._bodies.held -= self._held
        self._held = 0

    def _require(self, more: int, limit: int, too_large: str) -> None:
        if self._held + more > limit:
            raise Refusal("too_large", too_large)
        if self._bodies.held + more > self._bodies.most:
            raise Refusal("busy", _BUSY)
