"""uvicorn's HTTP/1.1, whose answer to what is no request has the shape of every other refusal."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from uuid import uuid4

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from api.error_answers import error_body
from api.middleware import HEADERS

_SAID = "this is no request that is understood; /openapi.json lists what there is"


# A body in chunks of some bytes costs a thousand times what it weighs, and all of it on the loop:
# a quarter of a second for what is read at once. So less is read at once, and a caller whose bytes
# take longer than those of chunks of 200 bytes is no client that there is.
_AT_ONCE, _SMALL_AT_ONCE = 256 * 1024, 16 * 1024
_GIVEN_SECONDS, _SECONDS_A_BYTE = 0.03, 6e-8


class JsonProtocol(H11Protocol):
    """h11 as uvicorn runs it; malformed requests never reach an application."""

    _spent, _came = 0.0, 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Little is read before it is known what comes."""
        super().connection_made(transport)
        self._read_at_most(_SMALL_AT_ONCE)

    def data_received(self, data: bytes) -> None:
        """Bytes of requests. Those that take the loop's time for nothing are refused."""
        start = time.thread_time()
        super().data_received(data)
        if self.headers and all(name != b"transfer-encoding" for name, _ in self.headers):
            self._read_at_most(_AT_ONCE)
            return
        self._read_at_most(_SMALL_AT_ONCE)
        self._spent += time.thread_time() - start
        self._came += len(data)
        if self._spent > _GIVEN_SECONDS + self._came * _SECONDS_A_BYTE:
            self._refuse_costly()

    def _refuse_costly(self) -> None:
        if not self.transport.is_closing():
            self.send_400_response("")

    def _read_at_most(self, size: int) -> None:
        # asyncio's own transport has it; of another loop's, each reads as it likes.
        if hasattr(self.transport, "max_size"):
            self.transport.max_size = size

    def send_400_response(self, msg: str) -> None:
        """Answer in JSON where no answer has begun, and close. `msg` is uvicorn's own text."""
        del msg
        if self.cycle:  # the application answers nobody any more
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        request_id = uuid4().hex
        body = json.dumps(error_body("bad_request", _SAID, request_id)).encode()
        headers = {
            **HEADERS,
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
            "X-Request-ID": request_id,
            "Connection": "close",
        }
        events = (
            h11.Response(status_code=400, headers=list(headers.items()), reason=b"Bad Request"),
            h11.Data(data=body),
            h11.EndOfMessage(),
        )
        # An answer that has begun cannot be taken back.
        with suppress(h11.LocalProtocolError):
            for event in events:
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
