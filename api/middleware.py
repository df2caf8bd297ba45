"""What surrounds every request: its address, its id and headers, its metrics, its unread body."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.bodies import HELD, Bodies, Body
from api.error_answers import REQUEST_ID
from api.reports import takes_gzip
from api.service import Service

_CSP = (
    "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": _CSP,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}
# A client that sends its whole body before it reads never sees a refusal if the connection is cut
# under it. So much is read and dropped after the answer, within so long.
DRAINED_BYTES = 64_000_000
DRAINED_SECONDS = 5.0
_IDLE_SECONDS = 1.0


# As the original of the 22 clinical classes had them: a route below is the same one.
ALIASES = {f"/api{path}": path for path in ("/predict", "/info", "/report")}


class Routes:
    """The application's own addresses: `every` one, and those of `pages`, which GET reads."""

    def __init__(self, every: Collection[str], pages: Collection[str]) -> None:
        self.every, self.pages = frozenset(every), frozenset(pages)

    def label(self, path: str) -> str:
        """The route for the metrics: a caller's own words would make a series each."""
        if path.startswith("/static/"):
            return "/static"
        return path if path in self.every else "other"


async def surround(
    app: ASGIApp, service: Service, routes: Routes, root: str, *, asked: tuple[Scope, Receive, Send]
) -> None:
    """Answer an HTTP request by `app`, whose address may have the prefix `root`."""
    scope, receive, send = asked
    scope, path = _place(scope, routes, root)
    scope[REQUEST_ID] = uuid4().hex
    scope[HELD] = Body(service.bodies)
    answer = _Answer(scope, receive, send, service.bodies)
    start = time.perf_counter()
    try:
        if path == "":  # the prefix alone: the page's own links are relative to its slash
            app = RedirectResponse(scope["root_path"] + "/")
        # Starlette looks for the word alone.
        elif _is_page(path) and takes_gzip(Headers(scope=scope).get("accept-encoding", "")):
            app = GZipMiddleware(app, minimum_size=1024)
        await app(scope, answer.receive, answer.send)
    finally:
        seconds = (answer.ended or time.perf_counter()) - start
        service.metrics.count_request(routes.label(path), answer.status, seconds)
        scope[HELD].let_go()


def _is_page(path: str) -> bool:
    return path == "/" or path.startswith("/static/")


def _place(scope: Scope, routes: Routes, root: str) -> tuple[Scope, str]:
    """The scope as its route has it, and the path below the prefix: a slash at the end is not
    looked at, and HEAD is answered as GET."""
    root = (scope.get("root_path") or root).rstrip("/")
    path = str(scope["path"])
    for times in range(2):
        # Uvicorn puts its own root path before what a proxy has left the prefix on already.
        if root and (path == root or path.startswith(root + "/")):
            path = path[len(root) :] if times == 0 or path not in routes.every else path
    if path.endswith("/") and path.rstrip("/") in routes.every | ALIASES.keys():
        path = path.rstrip("/")
    path = ALIASES.get(path, path)
    method = scope["method"]
    if method == "HEAD" and (path in routes.pages or _is_page(path)):
        method = "GET"
    # A copy: the server keeps the method, and sends no body to HEAD.
    return {
        **scope,
        "root_path": root,
        "path": root + path,
        "method": method,
        # The page's files come whole: Starlette refuses a part that cannot be had in plain text.
        "headers": [pair for pair in scope["headers"] if pair[0] != b"range" or not _is_page(path)],
        "melanoma.head": scope["method"] == "HEAD",
    }, path


class _Answer:
    """Both ends of a request: what came of it, and what is added on its way."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, bodies: Bodies) -> None:
        self._scope, self._receive, self._send, self._bodies = scope, receive, send, bodies
        headers = Headers(scope=scope)
        length = headers.get("content-length", "0")
        # Read here: what is mounted below a prefix changes the scope's own.
        path = str(scope["path"]).removeprefix(scope["root_path"])
        self._caching = "no-cache" if _is_page(path) else "no-store"
        self._unread = length != "0" or "transfer-encoding" in headers
        self.status = 499  # whoever leaves before an answer starts gets none
        self.ended: float | None = None

    async def receive(self) -> Message:
        """The next of the body, whose end is noted."""
        message = await self._receive()
        if message["type"] != "http.request" or not message.get("more_body", False):
            self._unread = False
        return message

    async def send(self, message: Message) -> None:
        """The answer with our headers, without a body for HEAD; then the rest of the upload."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            self._dress(headers)
            if self._unread and self.status >= 400:
                headers["Connection"] = "close"  # kept open, uvicorn would read on without an end
        elif message["type"] == "http.response.body":
            if self._scope["melanoma.head"]:
                message = {**message, "body": b""}
            if not message.get("more_body", False):
                self.ended = time.perf_counter()
                if self._unread:
                    await self._send({**message, "more_body": True})
                    await self._drain()
                    message = {"type": "http.response.body", "body": b""}
        await self._send(message)

    def _dress(self, headers: MutableHeaders) -> None:
        headers.update(HEADERS)
        # What may be kept is asked for anew each time; scores are not kept at all.
        headers.setdefault("Cache-Control", self._caching)
        headers["X-Request-ID"] = self._scope[REQUEST_ID]

    async def _drain(self) -> None:
        self._scope[HELD].let_go()
        left, until = DRAINED_BYTES, time.monotonic() + DRAINED_SECONDS
        while self._unread and left > 0 and not self._bodies.leaving and time.monotonic() < until:
            try:
                message = await asyncio.wait_for(self.receive(), _IDLE_SECONDS)
            except TimeoutError:
                return
            left -= len(message.get("body", b""))
            await self._bodies.take_turn(len(message.get("body", b"")))
