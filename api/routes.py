"""The routes: thin, each one a question to a Scorer."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import FileResponse

from api.batching import MicroBatcher, Outcome
from api.explaining import ExplainSlot
from api.readiness import Readiness
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
from melanoma.data.images import Photograph
from melanoma.errors import ImageError, ScoreError
from melanoma.scoring.scorer import DISCLAIMER, Prediction, Scorer

log = logging.getLogger("melanoma.api")
router = APIRouter()
PAGE = Path(__file__).parent / "page"


class Desk:
    """The scorers by name, the batches and the slot that they work in, and whether they may."""

    def __init__(self, scorers: Sequence[Scorer], *, waiting: int) -> None:
        self.scorers = {scorer.bundle.name: scorer for scorer in scorers}
        self.batcher = MicroBatcher(waiting=waiting)
        self.slot = ExplainSlot()
        self.readiness = Readiness()

    def choose(self, name: str | None) -> Scorer:
        """The scorer of that name, or the first. Raises Refusal listing the names."""
        if name is None:
            return next(iter(self.scorers.values()))
        if name not in self.scorers:
            raise Refusal("unknown_model", f"no such model; served: {', '.join(self.scorers)}")
        return self.scorers[name]

    async def score(
        self, scorer: Scorer, photographs: Sequence[bytes | Photograph]
    ) -> list[Outcome]:
        """A Prediction for each photograph, or the exception that it met. Raises Refusal."""
        self.readiness.require(scorer)
        return await self.batcher.score(scorer, photographs)

    async def check(self) -> None:
        """Ask every scorer for its golden score, in the thread that will score."""
        await self.batcher.run(self.readiness.check, list(self.scorers.values()))


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
    desk.batcher.require_room()
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
    (outcome,) = await desk.score(scorer, [data])
    if isinstance(outcome, Prediction):
        return outcome
    if isinstance(outcome, ImageError | ScoreError | Refusal):
        raise outcome
    # Whatever a model or a GPU raises is this request's alone: the next one is served.
    log.error("request %s: scoring failed", request_id, exc_info=outcome)
    raise Refusal("internal", "scoring failed; try again, or report the request id") from outcome


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
    """200 once every bundle has given its golden score, 503 before and again after SIGTERM."""
    found = desk.readiness
    response.status_code = 200 if found.ready else 503
    return ReadyAnswer(ready=found.ready, state=found.state, bundles=found.bundles)


@router.get("/", include_in_schema=False)
async def page() -> FileResponse:
    """The page."""
    return FileResponse(PAGE / "index.html")
