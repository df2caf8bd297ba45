"""POST /predict and /predict/batch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict

from fastapi import APIRouter, Request

from api.dependencies import (
    SCORING,
    Guarded,
    ThePrevalence,
    TheScorer,
    TheService,
    TheThreshold,
    choose_prevalence,
    log_answer,
    read_one,
    score_each,
)
from api.error_answers import Refusal, request_id_of
from api.explain_answer import answer_explanation, explain_photograph, make_question
from api.openapi import BATCH_BODY, PREDICT_BODY
from api.requests import PredictRequest
from api.responses import BatchAnswer, ItemAnswer, ItemRefusal, ModelAnswer, PredictAnswer
from api.service import Service
from api.uploads import read_photographs
from melanoma.evaluation.disclaimer import DISCLAIMER
from melanoma.scoring.prediction import Prediction
from melanoma.scoring.scorer import Scorer

router = APIRouter(dependencies=[Guarded])


@router.post("/predict", responses=SCORING, openapi_extra=PREDICT_BODY)
async def predict(
    request: Request,
    service: TheService,
    scorer: TheScorer,
    threshold: TheThreshold,
    prevalence: ThePrevalence,
) -> PredictAnswer:
    """The melanoma probability of one photograph, with its threshold beside it."""
    start = time.perf_counter()
    # Asked before the upload is read as well: a full queue should cost nobody ten megabytes.
    service.readiness.require(scorer)
    service.batcher.require_room()
    data, fields = await read_one(request, service, scorer, PredictRequest)
    prevalence = choose_prevalence(scorer, prevalence, fields.prevalence)
    explanation = None
    question = make_question(fields, scorer, default="lime")
    if fields.explain:
        explained = await explain_photograph(service, scorer, data, question, request=request)
        prediction, explanation = explained.prediction, answer_explanation(explained)
    else:
        (outcome,) = await score_each(request, service, scorer, [data])
        if isinstance(outcome, Refusal):
            raise outcome
        prediction = outcome
    prediction = _as_asked(scorer, prediction, prevalence, threshold)
    seconds = time.perf_counter() - start
    await log_answer(request, "a photograph", [data], seconds)
    return PredictAnswer(
        **prediction.as_dict(),
        explanation=explanation,
        request_id=request_id_of(request),
        milliseconds=round(1000 * seconds, 1),
    )


@router.post(
    "/predict/batch",
    responses=SCORING,
    openapi_extra=BATCH_BODY,
)
async def predict_batch(
    request: Request,
    service: TheService,
    scorer: TheScorer,
    threshold: TheThreshold,
    prevalence: ThePrevalence,
) -> BatchAnswer:
    """A score for each of several photographs, in their order; one that is refused says why."""
    start = time.perf_counter()
    service.readiness.require(scorer)
    service.batcher.require_room()
    uploads, fields = await read_photographs(request)
    prevalence = choose_prevalence(scorer, prevalence, fields.prevalence)
    readable = [data for data in uploads if isinstance(data, bytes)]
    outcomes = await score_uploads(request, service, scorer, uploads, threshold, prevalence)
    seconds = time.perf_counter() - start
    await log_answer(request, f"{len(uploads)} photographs", readable, seconds)
    return BatchAnswer(
        results=[answer_item(index, outcome) for index, outcome in enumerate(outcomes)],
        model=ModelAnswer(**asdict(scorer.info())),
        request_id=request_id_of(request),
        milliseconds=round(1000 * seconds, 1),
        disclaimer=DISCLAIMER,
    )


def _as_asked(
    scorer: Scorer, prediction: Prediction, prevalence: float | None, threshold: float | None
) -> Prediction:
    """At the prevalence that was asked for, then flagged from the threshold that was."""
    if prevalence is not None:
        prediction = scorer.at_prevalence(prediction, prevalence)
    if threshold is not None:
        prediction = scorer.flag_from(prediction, threshold)
    return prediction


async def score_uploads(
    request: Request,
    service: Service,
    scorer: Scorer,
    uploads: Sequence[bytes | Refusal],
    threshold: float | None,
    prevalence: float | None = None,
) -> list[Prediction | Refusal]:
    """Of each upload its Prediction, at the prevalence and flagged from the threshold that were
    asked for, or its Refusal. Raises Refusal without room."""
    readable = [data for data in uploads if isinstance(data, bytes)]
    for data in uploads:
        if isinstance(data, Refusal):
            service.metrics.count_photograph(service.label(scorer), data.code)
    scored = iter(await score_each(request, service, scorer, readable) if readable else [])
    outcomes = [next(scored) if isinstance(data, bytes) else data for data in uploads]
    return [
        one if isinstance(one, Refusal) else _as_asked(scorer, one, prevalence, threshold)
        for one in outcomes
    ]


def answer_item(index: int, outcome: Prediction | Refusal) -> ItemAnswer | ItemRefusal:
    """One photograph's part of an answer."""
    if isinstance(outcome, Refusal):
        error = {"code": outcome.code, "message": str(outcome)}
        return ItemRefusal.model_validate({"index": index, "error": error})
    return ItemAnswer(index=index, **outcome.as_dict())
