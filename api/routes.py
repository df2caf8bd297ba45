"""The routes about the service and its bundles, and the page."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import anyio.to_thread
from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, JSONResponse
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from api.asking import Guarded, TheDesk, TheScorer, refusals
from api.desk import Desk
from api.schemas import (
    BundleAnswer,
    ClassAnswer,
    ClassesAnswer,
    HealthAnswer,
    InfoAnswer,
    LimitsAnswer,
    ModelAnswer,
    ReadyAnswer,
)
from melanoma.data import images
from melanoma.errors import WeightsError
from melanoma.evaluation.pseudonyms import without_names
from melanoma.scoring.explain import METHODS
from melanoma.scoring.lime import PRECISIONS
from melanoma.scoring.scorer import DISCLAIMER, Scorer

router = APIRouter()
PAGE = Path(__file__).parent / "page"


@router.get("/openapi.json", dependencies=[Guarded], include_in_schema=False)
async def openapi(request: Request) -> JSONResponse:
    """What the service takes and answers."""
    return JSONResponse(request.app.openapi())


@router.get("/info", dependencies=[Guarded], responses=refusals(401))
async def info(desk: TheDesk) -> InfoAnswer:
    """The served bundles: what they are, how well they rank, and what they accept."""
    limits = LimitsAnswer(
        formats=list(images.FORMATS),
        bytes=images.MAX_BYTES,
        pixels=images.MAX_PIXELS,
        shortest_side=images.MIN_SIDE,
        longest_side=images.MAX_SIDE,
        aspect=images.MAX_ASPECT,
    )
    described = [_describe(desk, scorer) for scorer in desk.scorers.values()]
    return InfoAnswer(models=described, limits=limits, disclaimer=DISCLAIMER)


def _describe(desk: Desk, scorer: Scorer) -> BundleAnswer:
    bundle, metrics = scorer.bundle, scorer.bundle.report["metrics"]
    costs = {
        name: {"evaluations": count, "seconds": desk.durations.expect(bundle.name, name)}
        for name, count in PRECISIONS.items()
    }
    return BundleAnswer.model_validate(
        {
            **scorer.info(),
            "backbone": bundle.backbone,
            "classes": list(bundle.classes),
            "melanoma": list(bundle.melanoma),
            "image_size": bundle.size,
            "fit": bundle.fit,
            "views": scorer.views,
            "threshold": asdict(bundle.threshold) if bundle.threshold else None,
            "calibration": {"prevalence": bundle.calibration.prevalence},
            "auroc": metrics.get("auroc") or metrics["macro_auroc"],
            "warnings": without_names(bundle.report)["warnings"],
            "license": bundle.license,
            "explain": {"methods": list(METHODS), "precisions": costs},
        }
    )


@router.get("/classes", dependencies=[Guarded], responses=refusals(401, 404, 422))
async def classes(scorer: TheScorer) -> ClassesAnswer:
    """A bundle's classes."""
    bundle = scorer.bundle
    return ClassesAnswer(
        model=ModelAnswer(**scorer.info()),
        classes=[ClassAnswer(name=n, melanoma=n in bundle.melanoma) for n in bundle.classes],
    )


@router.get(
    "/report",
    dependencies=[Guarded],
    response_class=Response,
    responses={
        200: {"content": {"application/json": {"schema": {"type": "object"}}}},
        **refusals(401, 404, 422, 500),
    },
)
async def report(scorer: TheScorer) -> Response:
    """A bundle's report.json as it was sealed, byte for byte; images' names as digests at most."""
    data = await anyio.to_thread.run_sync(_read_report, scorer)
    return Response(data, media_type="application/json")


def _read_report(scorer: Scorer) -> bytes:
    path = scorer.bundle.folder / "report.json"
    data = path.read_bytes()
    # What was verified at the start is what is answered, whatever became of the folder since.
    if json.loads(data) != scorer.bundle.report:
        raise WeightsError(f"{path} was changed after the service had started")
    nameless = without_names(scorer.bundle.report)
    if nameless == scorer.bundle.report:
        return data
    # Sealed with the images' names, which are for whoever evaluates.
    return json.dumps(nameless, allow_nan=False).encode()


@router.get(
    "/metrics",
    dependencies=[Guarded],
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **refusals(401)},
)
async def metrics(desk: TheDesk) -> Response:
    """What Prometheus reads."""
    return Response(desk.metrics.text(), media_type=CONTENT_TYPE_PLAIN_0_0_4)


@router.get("/healthz")
async def healthz() -> HealthAnswer:
    """200 while the process answers."""
    return HealthAnswer()


@router.get("/readyz", responses={503: {"model": ReadyAnswer}})
async def readyz(desk: TheDesk, response: Response) -> ReadyAnswer:
    """200 once every bundle has given its golden score, 503 before and again after SIGTERM."""
    found = desk.readiness
    response.status_code = 200 if found.ready else 503
    return ReadyAnswer(ready=found.ready, state=found.state, bundles=found.bundles)


@router.get("/", include_in_schema=False)
async def page() -> FileResponse:
    """The page."""
    return FileResponse(PAGE / "index.html")
