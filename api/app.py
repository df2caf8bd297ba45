"""The application: create_app(scorers, settings), and uvicorn's two ways to it.

`uvicorn api.app:app` and `uvicorn --factory api.app:create_app_from_environment` read the
environment, as api.settings says.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.routing import Route
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from api.error_answers import add_handlers
from api.middleware import Routes, surround
from api.routes import PAGE
from api.routes import router as about_router
from api.routes_explain import router as explain_router
from api.routes_patient import router as patient_router
from api.routes_predict import router as predict_router
from api.service import Service
from api.settings import Settings, read_settings
from melanoma.errors import MelanomaError
from melanoma.freed_memory import give_freed_memory_back
from melanoma.scoring.scorer import Scorer

ROUTERS = (predict_router, patient_router, explain_router, about_router)
_OWN = [route for router in ROUTERS for route in router.routes if isinstance(route, Route)]
ROUTES = Routes(
    every=[route.path for route in _OWN],
    pages=[route.path for route in _OWN if "GET" in (route.methods or ())],
)


class Application(FastAPI):
    """FastAPI whose every reply, its middleware's included, has our headers and our errors."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        root, asked = self.state.settings.root_path, (scope, receive, send)
        await surround(super().__call__, self.state.service, ROUTES, root, asked=asked)


def create_app(scorers: Sequence[Scorer], settings: Settings) -> FastAPI:
    """The service over these scorers, the first of which answers where no model is named, or the
    newest version of its name.

    Raises RecipeError when there is none, or when two have one name and one version.
    """
    service = Service(scorers, settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None, None]:
        await service.check()
        with service.readiness.leaving_at_signals():
            yield

    # FastAPI's own /docs and /redoc load their scripts from another host.
    app = Application(
        title="melanoma",
        summary="A calibrated melanoma probability for one photograph",
        description="Research software, not a medical device.",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,  # a route of its own, which demands the token
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.state.service = service
    app.state.settings = settings
    add_handlers(app)
    for router in ROUTERS:
        app.include_router(router)
    app.mount("/static", StaticFiles(directory=PAGE))
    return app


def load_app(settings: Settings) -> FastAPI:
    """create_app over the settings' bundles, each file hashed once. Raises MelanomaError."""
    from melanoma.devices import find_device
    from melanoma.scoring.backends.open_members import open_members
    from melanoma.scoring.bundle.bundle import load_bundle

    give_freed_memory_back()
    device = find_device(settings.device)
    bundles = [load_bundle(folder) for folder in settings.weights]
    scorers = [
        Scorer(bundle, device=device, members=open_members(bundle, device, settings.engine))
        for bundle in bundles
    ]
    app = create_app(scorers, settings)
    # What is there now stays. A collection that goes over all of it keeps Python's lock for a fifth
    # of a second.
    app.state.service.settled = gc.freeze
    return app


def create_app_from_environment() -> FastAPI:
    """load_app over the environment. A failure is one line on stderr and its exit code."""
    try:
        return load_app(read_settings(os.environ))
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
