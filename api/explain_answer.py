"""Explanations as the service makes them: where each step runs, and what is answered."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from fastapi import Request

from api.aside import run_aside
from api.decoding import decode_to_draw
from api.dependencies import as_refusal
from api.error_answers import Refusal
from api.requests import ExplainRequest
from api.service import Service
from melanoma.data.images import Photograph
from melanoma.errors import ExplanationError
from melanoma.scoring.explain.answers import ExplanationAnswer
from melanoma.scoring.explain.explain_options import Question
from melanoma.scoring.explain.explainer_catalog import EXPLAINERS, explain
from melanoma.scoring.explain.explainers import Explanation
from melanoma.scoring.explain.pictures import draw_explanation
from melanoma.scoring.prediction import Prediction
from melanoma.scoring.scorer import Scorer


@dataclass(frozen=True)
class Explained:
    """The score, why, and the PNG that shows it."""

    prediction: Prediction
    explanation: Explanation
    picture: bytes


def make_question(fields: ExplainRequest, scorer: Scorer, *, default: str) -> Question:
    """The question that the fields amount to.

    Raises Refusal for a class that the bundle has not, and for a field that another method reads.
    """
    method = fields.method or default
    options = {"precision": fields.precision, "seed": fields.seed}
    foreign = [name for name in options if name not in EXPLAINERS[method].options]
    if any(options[name] is not None for name in foreign):
        readers = [name for name, entry in EXPLAINERS.items() if set(foreign) <= {*entry.options}]
        raise Refusal(
            "invalid_field",
            f"method: {' and '.join(foreign)} belong to {' or '.join(readers)}, not to {method}",
        )
    classes = scorer.bundle.classes
    known = [*classes, *(["melanoma"] if scorer.bundle.melanoma else [])]
    if fields.target is not None and fields.target not in known:
        raise Refusal("invalid_field", f"class: the bundle's are {', '.join(dict.fromkeys(known))}")
    return Question(
        method,
        precision=fields.precision or "Medium",
        target=fields.target,
        seed=fields.seed or 0,
    )


async def explain_photograph(
    service: Service, scorer: Scorer, data: bytes, question: Question, *, request: Request
) -> Explained:
    """The explained score of one photograph.

    Raises Refusal when there is no room, where LIME cannot end in time, and where it was ended: its
    deadline passed, or the caller of `request` has gone. ImageError and ScoreError as Scorer.score
    does.
    """
    start = time.monotonic()
    model = service.label(scorer)
    service.readiness.require(scorer)
    entry = EXPLAINERS[question.method]
    if "precision" in entry.options:
        await service.know_costs()
        service.costs.require(model, question.precision)
    try:
        if entry.slow:
            explained = await _in_slot(service, scorer, data, question, request=request)
        else:
            explained = await _between_scores(service, scorer, data, question)
    except Exception as error:
        refusal = as_refusal(request, error)
        service.metrics.count_photograph(model, refusal.code)
        raise refusal from error
    seconds = time.monotonic() - start
    service.metrics.count_photograph(model, "explained")
    service.metrics.time_explanation(model, question.method, seconds)
    if "precision" in entry.options:
        service.costs.note(model, question.precision, seconds)
    return explained


def answer_explanation(explained: Explained) -> ExplanationAnswer:
    """The explanation as an answer carries it."""
    values = explained.explanation.as_dict()
    del values["prediction"]
    values["picture"] = base64.b64encode(explained.picture).decode()
    values["fit"] = explained.explanation.fit
    return EXPLAINERS[explained.explanation.method].answer.model_validate(values)


async def _in_slot(
    service: Service, scorer: Scorer, data: bytes, question: Question, *, request: Request
) -> Explained:
    function = partial(_explain_bytes, scorer, data, question)
    try:
        explanation, photograph = await service.explain(
            function, disconnected=request.is_disconnected
        )
    except ExplanationError as error:
        if await request.is_disconnected():
            raise Refusal("client_gone", "nobody waits for this explanation any more") from error
        raise Refusal("deadline", str(error)) from error
    # Not drawn by the slot's thread: pushed aside while it holds Python's lock it would keep the
    # event loop waiting, and drawing is all Python.
    return await run_aside(_explained, explanation, photograph)


def _explain_bytes(
    scorer: Scorer,
    data: bytes,
    question: Question,
    *,
    deadline: float,
    should_stop: Callable[[], bool],
) -> tuple[Explanation, Photograph]:
    photograph, square = decode_to_draw(scorer, data)
    explanation = explain(
        scorer,
        photograph.pixels,
        question,
        square=square,
        warnings=photograph.warnings,
        deadline=deadline,
        should_stop=should_stop,
    )
    return explanation, photograph


async def _between_scores(
    service: Service, scorer: Scorer, data: bytes, question: Question
) -> Explained:
    # Only the networks' part goes through the queue of the scores, which it takes as one of them.
    async with service.drawing():
        photograph, square = await run_aside(decode_to_draw, scorer, data)
        told = photograph.warnings
        function = partial(
            explain, scorer, photograph.pixels, question, square=square, warnings=told
        )
        explanation = await service.batcher.run(function)
        return await run_aside(_explained, explanation, photograph)


def _explained(explanation: Explanation, photograph: Photograph) -> Explained:
    picture = draw_explanation(explanation, photograph.pixels)
    return Explained(explanation.prediction, explanation, picture)
