"""The routes: thin, each one a question to a Scorer."""

from __future__ import annotations

import hashlib
import logging
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import FileResponse

from api.desk import Desk
from api.refusals import Refusal, request_id_of
from api.schemas import (
    PREDICT_BODY,
    BundleAnswer,
    ErrorAnswer,
    HealthAnswer,
    InfoAnswer,
    LimitsAnswer,
    PredictAnswer,
    ReadyAnswer,
)
from api.uploads import read_photograph
from melanoma.data import images
from melanoma.errors import ImageError, ScoreError
from melanoma.scoring.scorer import DISCLAIMER, Prediction, Scorer

log = logging.getLogger("melanoma.api")
router = APIRouter()
PAGE = Path(__file__).parent / "page"


def _desk(request: Request) -> Desk:
    desk = request.app.state.desk
    assert isinstance(desk, Desk)
    return desk


TheDesk = Annotated[Desk, Depends(_desk)]
REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorAnswer} for status in (400, 404, 413, 415, 422, 500, 503)
}


@router.post("/predict", responses=REFUSALS, openapi_extra=PREDICT_BODY)
async def predict(
    request: Request,
    desk: TheDesk,
    model: Annotated[str | None, Query(description="A served bundle's name")] = None,
) -> PredictAnswer:
    """The melanoma probability of one photograph, with its threshold beside it."""
    start = time.perf_counter()
    if set(request.query_params) - {"model"}:
        raise Refusal("unknown_field", "the address has an unknown parameter; known: model")
    scorer = desk.choose(model)
    # Asked before the upload is read as well: a full queue should cost nobody ten megabytes.
    desk.queue.require_room()
    data = await read_photograph(request)
    prediction = await _score(desk, scorer, data, request_id_of(request))
    milliseconds = (time.perf_counter() - start) * 1000
    log.info(
        "request %s: %d bytes, sha256 %s, scored in %.0f ms",
        request_id_of(request),
        len(data),
        hashlib.sha256(data).hexdigest()[:8],
        milliseconds,
    )
    return PredictAnswer(
        **prediction.as_dict(),
        request_id=request_id_of(request),
        milliseconds=round(milliseconds, 1),
    )


async def _score(desk: Desk, scorer: Scorer, data: bytes, request_id: str) -> Prediction:
    try:
        return await desk.queue.run(scorer.score, data)
    except (ImageError, ScoreError, Refusal):
        raise
    except Exception as error:
        # Whatever a model or a GPU raises is this request's alone: the next one is served.
        log.exception("request %s: scoring failed", request_id)
        raise Refusal("internal", "scoring failed; try again, or report the request id") from error


@router.get("/info")
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
    described = [_describe(scorer) for scorer in desk.scorers.values()]
    return InfoAnswer(models=described, limits=limits, disclaimer=DISCLAIMER)


def _describe(scorer: Scorer) -> BundleAnswer:
    bundle, metrics = scorer.bundle, scorer.bundle.report["metrics"]
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
            "warnings": bundle.report["warnings"],
        }
    )


@router.get("/healthz")
async def healthz() -> HealthAnswer:
    """200 while the process answers."""
    return HealthAnswer()


@router.get("/readyz", responses={503: {"model": ReadyAnswer}})
async def readyz(desk: TheDesk, response: Response) -> ReadyAnswer:
    """200 once every bundle has given a score, 503 before."""
    response.status_code = 200 if desk.ready else 503
    return ReadyAnswer(ready=desk.ready)


@router.get("/", include_in_schema=False)
async def page() -> FileResponse:
    """The page."""
    return FileResponse(PAGE / "index.html")
