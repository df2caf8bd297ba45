"""Explanations as the service makes them: where each step runs, and what is answered."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import anyio.to_thread
from fastapi import Request

from api.dependencies import as_refusal
from api.errors import Refusal
from api.requests import ExplainRequest
from api.responses import ExplanationAnswer, GradcamAnswer, LimeAnswer
from api.service import Desk
from melanoma.data.images import Photograph, decode_image
from melanoma.errors import ExplanationError
from melanoma.scoring.explain.explainers import Explanation, explain_gradcam, explain_lime
from melanoma.scoring.explain.pictures import draw_explanation
from melanoma.scoring.scorer import Prediction, Scorer


@dataclass(frozen=True)
class Question:
    """How to explain; `target` is a class, None the predicted one. Without `method` nothing is."""

    method: str
    precision: str
    target: str | None
    seed: int


@dataclass(frozen=True)
class Explained:
    """The score, why, and the PNG that shows it."""

    prediction: Prediction
    explanation: Explanation
    picture: bytes


def make_question(wanted: ExplainRequest, scorer: Scorer, *, default: str) -> Question:
    """The question that the fields amount to.

    Raises Refusal for a class that the bundle has not, and for LIME's fields without LIME.
    """
    method = wanted.method or default
    if method != "lime" and (wanted.precision is not None or wanted.seed is not None):
        raise Refusal("invalid_field", "method: precision and seed belong to lime, not to gradcam")
    classes = scorer.bundle.classes
    known = [*classes, *(["melanoma"] if scorer.bundle.melanoma else [])]
    if wanted.target is not None and wanted.target not in known:
        raise Refusal("invalid_field", f"class: the bundle's are {', '.join(dict.fromkeys(known))}")
    return Question(method, wanted.precision or "Medium", wanted.target, wanted.seed or 0)


async def explain_photograph(
    desk: Desk, scorer: Scorer, data: bytes, question: Question, *, request: Request
) -> Explained:
    """The explained score of one photograph.

    Raises Refusal when there is no room, where LIME cannot end in time, and where it was ended: its
    deadline passed, or the caller of `request` has gone. ImageError and ScoreError as Scorer.score
    does.
    """
    start = time.monotonic()
    model = desk.label(scorer)
    desk.readiness.require(scorer)
    if question.method == "lime":
        desk.costs.require(model, question.precision)
    try:
        if question.method == "lime":
            found = await _by_lime(desk, scorer, data, question, request=request)
        else:
            found = await _by_gradcam(desk, scorer, data, question)
    except Exception as error:
        refusal = as_refusal(request, error)
        desk.metrics.count_photograph(model, refusal.code)
        raise refusal from error
    seconds = time.monotonic() - start
    desk.metrics.count_photograph(model, "explained")
    desk.metrics.time_explanation(model, question.method, seconds)
    if question.method == "lime":
        desk.costs.note(model, question.precision, seconds)
    return found


def answer_explanation(explained: Explained) -> ExplanationAnswer:
    """The explanation as an answer carries it."""
    values = explained.explanation.as_dict()
    del values["prediction"]
    values["picture"] = base64.b64encode(explained.picture).decode()
    values["fit"] = explained.explanation.fit
    answer = LimeAnswer if values["method"] == "lime" else GradcamAnswer
    return answer.model_validate(values)


async def _by_lime(
    desk: Desk, scorer: Scorer, data: bytes, question: Question, *, request: Request
) -> Explained:
    function = partial(_explain_lime, scorer, data, question)
    try:
        return await desk.explain(function, disconnected=request.is_disconnected)
    except ExplanationError as error:
        if await request.is_disconnected():
            raise Refusal("client_gone", "nobody waits for this explanation any more") from error
        raise Refusal("deadline", str(error)) from error


def _explain_lime(
    scorer: Scorer,
    data: bytes,
    question: Question,
    *,
    deadline: float,
    should_stop: Callable[[], bool],
) -> Explained:
    photograph = decode_image(data)
    explanation = explain_lime(
        scorer,
        photograph.pixels,
        target=question.target,
        precision=question.precision,
        seed=question.seed,
        deadline=deadline,
        should_stop=should_stop,
    )
    return _explained(explanation, photograph)


async def _by_gradcam(desk: Desk, scorer: Scorer, data: bytes, question: Question) -> Explained:
    # Only the networks' part goes through the queue of the scores, which it takes as one of them.
    async with desk.drawing():
        photograph = await anyio.to_thread.run_sync(decode_image, data)
        function = partial(explain_gradcam, scorer, photograph.pixels, target=question.target)
        explanation = await desk.batcher.run(function)
        return await anyio.to_thread.run_sync(_explained, explanation, photograph)


def _explained(explanation: Explanation, photograph: Photograph) -> Explained:
    prediction = explanation.prediction
    warnings = [*photograph.warnings, *prediction.warnings]
    return Explained(
        replace(prediction, warnings=warnings),
        explanation,
        draw_explanation(explanation, photograph.pixels),
    )
