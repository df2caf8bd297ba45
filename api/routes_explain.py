"""POST /explain."""

from __future__ import annotations

import time

from fastapi import APIRouter, Request, Response

from api.dependencies import SCORING, Guarded, TheScorer, TheService, log_answer, read_one
from api.error_answers import request_id_of
from api.explain_answer import answer_explanation, explain_photograph, make_question
from api.openapi import EXPLAIN_BODY
from api.requests import ExplainRequest
from api.responses import ExplainAnswer, PredictionAnswer
from melanoma.evaluation.disclaimer import DISCLAIMER

router = APIRouter(dependencies=[Guarded])
_PNG = {
    "description": "The explanation; with `Accept: image/png` its picture alone",
    "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}},
}


@router.post(
    "/explain",
    response_model=ExplainAnswer,
    responses={200: _PNG, **SCORING},
    openapi_extra=EXPLAIN_BODY,
)
async def explain(
    request: Request, service: TheService, scorer: TheScorer
) -> ExplainAnswer | Response:
    """What speaks for and against a class in one photograph, as a picture and as numbers."""
    start = time.perf_counter()
    data, fields = await read_one(request, service, scorer, ExplainRequest)
    question = make_question(fields, scorer, default="gradcam")
    explained = await explain_photograph(service, scorer, data, question, request=request)
    seconds = time.perf_counter() - start
    await log_answer(request, f"a photograph, by {question.method},", [data], seconds)
    if _wants_picture(request):
        return Response(explained.picture, media_type="image/png")
    return ExplainAnswer(
        explanation=answer_explanation(explained),
        prediction=PredictionAnswer(**explained.prediction.as_dict()),
        request_id=request_id_of(request),
        milliseconds=round(1000 * seconds, 1),
        disclaimer=DISCLAIMER,
    )


def _wants_picture(request: Request) -> bool:
    """Whether the caller names image/png and does not name JSON."""
    accept = ",".join(request.headers.getlist("accept"))
    kinds = {kind.partition(";")[0].strip().lower() for kind in accept.split(",")}
    return "image/png" in kinds and "application/json" not in kinds
