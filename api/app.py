"""The application: create_app(scorers, settings), and uvicorn's two ways to it.

`uvicorn api.app:app` and `uvicorn --factory api.app:create_app_from_environment` read the
environment, as api.settings says.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from uuid import uuid4

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.routing import Route
from starlette.staticfiles import StaticFiles
from starlette.types import Message, Receive, Scope, Send

from api.desk import Desk
from api.limits import JSON_BYTES, TOO_LARGE
from api.refusals import REQUEST_ID, add_handlers, error_body
from api.routes import PAGE
from api.routes import router as about_router
from api.routes_explain import router as explain_router
from api.routes_predict import router as predict_router
from api.settings import Settings, read_settings
from api.uploads import BATCH
from melanoma.errors import MelanomaError, RecipeError
from melanoma.scoring.scorer import Scorer

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


ROUTERS = (predict_router, explain_router, about_router)
_PATHS = {route.path for router in ROUTERS for route in router.routes if isinstance(route, Route)}


class Service(FastAPI):
    """FastAPI whose every reply, its middleware's included, has our headers and our errors."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        scope[REQUEST_ID] = uuid4().hex
        start = time.perf_counter()
        status = 499  # whoever leaves before an answer starts gets none

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await super().__call__(scope, receive, _dressed(scope, receive, counted))
        finally:
            seconds = time.perf_counter() - start
            self.state.desk.metrics.count_request(_route(scope["path"]), status, seconds)


def _route(path: str) -> str:
    """The route for the metrics: a caller's own words would make a series each."""
    if path.startswith("/static/"):
        return "/static"
    return path if path in _PATHS else "other"


def _dressed(scope: Scope, receive: Receive, send: Send) -> Send:
    """`send` with the headers added, and with the body limit's plain 413 put into our JSON."""
    static = scope["path"] == "/" or scope["path"].startswith("/static/")
    replaced = False

    async def dressed(message: Message) -> None:
        nonlocal replaced
        if replaced:
            return
        if message["type"] == "http.response.start":
            kind = Headers(scope=message).get("content-type", "")
            if message["status"] == 413 and not kind.startswith("application/json"):
                replaced = True
                said = BATCH.too_large if scope["path"] == "/predict/batch" else TOO_LARGE
                body = error_body("too_large", said, scope[REQUEST_ID])
                reply = JSONResponse(body, 413)
                await reply(scope, receive, _dressed(scope, receive, send))
                return
            headers = MutableHeaders(scope=message)
            headers.update(HEADERS)
            headers["Cache-Control"] = "no-cache" if static else "no-store"
            headers["X-Request-ID"] = scope[REQUEST_ID]
        await send(message)

    return dressed


def create_app(scorers: Sequence[Scorer], settings: Settings) -> FastAPI:
    """The service over these scorers, the first of which answers where no model is named.

    Raises RecipeError when there is none, or when two have one name.
    """
    names = [scorer.bundle.name for scorer in scorers]
    if not names or len(set(names)) < len(names):
        raise RecipeError(f"bundles of different names are needed; given: {names or 'none'}")
    desk = Desk(scorers, settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None, None]:
        await desk.check()
        with desk.readiness.leaving_at_sigterm():
            yield

    # FastAPI's own /docs and /redoc load their scripts from another host.
    app = Service(
        title="melanoma",
        summary="A calibrated melanoma probability for one photograph",
        description="Research software, not a medical device.",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,  # a route of its own, which demands the token
        lifespan=lifespan,
        max_body_size=JSON_BYTES,
        redirect_slashes=False,
    )
    app.state.desk = desk
    app.state.settings = settings
    add_handlers(app)
    for router in ROUTERS:
        app.include_router(router)
    app.mount("/static", StaticFiles(directory=PAGE))
    return app


def create_app_from_environment() -> FastAPI:
    """create_app over MELANOMA_WEIGHTS. A failure is one line on stderr and its exit code."""
    from melanoma.scoring.bundle import load_bundle
    from melanoma.training.engine import resolve_device

    try:
        settings = read_settings(os.environ)
        device = resolve_device(settings.device)
        bundles = [load_bundle(folder) for folder in settings.weights]
        return create_app([Scorer(bundle, device=device) for bundle in bundles], settings)
    except MelanomaError as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        sys.exit(error.exit_code)


def __getattr__(name: str) -> FastAPI:
    # Built when uvicorn asks for it, so that importing this module loads no weights.
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    app = create_app_from_environment()
    globals()["app"] = app
    return app
