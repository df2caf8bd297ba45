"""uvicorn's HTTP/1.1, whose answer to what is no request has the shape of every other refusal."""

from __future__ import annotations

import json
from uuid import uuid4

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from api.errors import error_body
from api.middleware import HEADERS

_SAID = "this is no request that is understood; /openapi.json lists what there is"


class JsonProtocol(H11Protocol):
    """h11 as uvicorn runs it; malformed requests never reach an application."""

    def send_400_response(self, msg: str) -> None:
        """Answer in JSON, and close. `msg` is uvicorn's own text."""
        del msg
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
        for event in events:
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
