"""The servers that benchmarks/service.py compares, each over the same bundle and Scorer.

python -m benchmarks.service_servers ours|ours_bfloat16|fastapi|litserve --weights DIR --port N

`fastapi` is the handler that most people write: a plain function, which FastAPI runs in its pool of
forty threads. `litserve` batches as ours does, with as many photographs and as long a wait. All
are run by uvicorn with the same loop and parser; they decode, score and answer by the same
Scorer. Ours runs its networks on the backend that the service takes by itself, the other two in
eager torch, as their users do; with MELANOMA_BACKEND=torch what differs is the serving alone.
`ours_bfloat16` is ours with --precision bfloat16.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, File, UploadFile

from api.app import create_app
from api.settings import Settings, read_settings
from melanoma.devices import resolve_device
from melanoma.scoring.backends.backend_catalog import Engine
from melanoma.scoring.backends.open_members import open_members
from melanoma.scoring.bundle.bundle import load_bundle
from melanoma.scoring.scorer import Scorer

SAME: dict[str, Any] = {"loop": "asyncio", "http": "h11", "log_level": "warning"}


def load_scorer(weights: Path, engine: Engine | None = None) -> Scorer:
    """The bundle on the machine's best device, in eager torch or on the engine."""
    bundle, device = load_bundle(weights), resolve_device("auto")
    members = open_members(bundle, device, engine or Engine("torch"))
    return Scorer(bundle, device=device, members=members)


def serve_ours(weights: Path, port: int, precision: str | None = None) -> None:
    """The service as melanoma.serve runs it."""
    environment = {**os.environ, "MELANOMA_PRECISION": precision} if precision else os.environ
    settings = read_settings(environment)
    app = create_app([load_scorer(weights, settings.engine)], settings)
    uvicorn.run(app, port=port, access_log=False, **SAME)


def serve_fastapi(weights: Path, port: int) -> None:
    """A plain handler."""
    scorer = load_scorer(weights)
    app = FastAPI()

    @app.post("/predict")
    def predict(file: UploadFile = File()) -> dict[str, Any]:  # noqa: B008 - FastAPI's own way
        return scorer.score(file.file.read()).as_dict()

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    uvicorn.run(app, port=port, access_log=False, **SAME)


def serve_litserve(weights: Path, port: int) -> None:
    """LitServe with one worker, micro-batching as ours."""
    import litserve

    from benchmarks.service_litserve import Api

    plain = Settings()
    api = Api(
        max_batch_size=plain.batch, batch_timeout=plain.batch_wait_ms / 1000, api_path="/predict"
    )
    api.weights = weights
    server = litserve.LitServer(
        api, accelerator="auto", workers_per_device=1, healthcheck_path="/healthz", timeout=60
    )
    server.run(host="127.0.0.1", port=port, generate_client_file=False, access_log=False, **SAME)


SERVERS: dict[str, Callable[[Path, int], None]] = {
    "ours": serve_ours,
    "ours_bfloat16": partial(serve_ours, precision="bfloat16"),
    "fastapi": serve_fastapi,
    "litserve": serve_litserve,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("server", choices=SERVERS)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    args = parser.parse_args()
    SERVERS[args.server](args.weights, args.port)


if __name__ == "__main__":
    main()
