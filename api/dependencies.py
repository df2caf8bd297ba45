"""What routes share: token, service and model before an answer, scores, and failures."""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import Depends, Query, Request
from fastapi.security import HTTPBearer

from api.aside import run_aside
from api.error_answers import Refusal, request_id_of
from api.json_texts import BAD_BASE64
from api.responses import ErrorAnswer
from api.service import Service
from api.uploads import RequestType, read_photograph
from melanoma.errors import ImageError, RecipeError, ScoreError
from melanoma.evaluation.asked_prevalence import GREATEST_PREVALENCE, LEAST_PREVALENCE
from melanoma.scoring.other_prevalence import require_prevalence
from melanoma.scoring.prediction import Prediction
from melanoma.scoring.scorer import Scorer

log = logging.getLogger("melanoma.api")

_bearer = HTTPBearer(auto_error=False, description="Demanded where the service has a token")


async def _require_token(request: Request, _: Annotated[Any, Depends(_bearer)]) -> None:
    token = request.app.state.settings.token
    if token is None:
        return
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    # Digests are of one length, so that the time tells nothing about the token's either.
    equal = hmac.compare_digest(_digest(token.encode()), _digest(credentials.encode()))
    if not equal or scheme.lower() != "bearer":
        raise Refusal("unauthorized", "send the service's token as Authorization: Bearer TOKEN")


def _digest(*parts: bytes) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.digest()


async def _the_service(request: Request) -> Service:
    service = request.app.state.service
    assert isinstance(service, Service)
    return service


Guarded = Depends(_require_token)
TheService = Annotated[Service, Depends(_the_service)]


async def _the_scorer(
    request: Request,
    service: TheService,
    model: Annotated[
        str | None, Query(description="NAME of a served bundle (newest version), or NAME@VERSION")
    ] = None,
) -> Scorer:
    path = request.url.path.rstrip("/")
    more = ["threshold", "prevalence"] if "/predict" in path else []
    # A patient's lesions are compared as the bundle scores them.
    more = ["threshold"] if path.endswith("/predict/patient") else more
    known = ("model", *more)
    if set(request.query_params) - set(known):
        known_names = ", ".join(known)
        raise Refusal(
            "unknown_field", f"the address has an unknown parameter; known: {known_names}"
        )
    for name in known:
        if len(request.query_params.getlist(name)) > 1:
            one = "name one bundle" if name == "model" else "the address says it twice"
            raise Refusal("invalid_field", f"{name}: {one}")
    scorer = service.choose(model)
    if scorer.bundle.phantoms and model is None and request.method == "POST":
        raise Refusal(
            "trained_on_drawings",
            f"{scorer.bundle.name} was trained on drawings and says nothing of a photograph; "
            f"it scores only where ?model={scorer.bundle.name} asks for it",
        )
    return scorer


TheScorer = Annotated[Scorer, Depends(_the_scorer)]


async def _the_threshold(
    scorer: TheScorer,
    threshold: Annotated[
        float | None,
        Query(ge=0, le=1, description="Flag from this melanoma probability on, such as 0.5."),
    ] = None,
) -> float | None:
    if threshold is not None and not scorer.bundle.melanoma:
        raise Refusal("invalid_field", "threshold: this bundle names no melanoma class")
    return threshold


TheThreshold = Annotated[float | None, Depends(_the_threshold)]


async def _the_prevalence(
    scorer: TheScorer,
    prevalence: Annotated[
        float | None,
        Query(
            ge=LEAST_PREVALENCE,
            le=GREATEST_PREVALENCE,
            description="The share of melanomas where it is used, such as 0.02.",
        ),
    ] = None,
) -> float | None:
    return None if prevalence is None else require_moved(scorer, prevalence)


def require_moved(scorer: Scorer, prevalence: float) -> float:
    """The prevalence. Raises Refusal where the bundle cannot be moved to it."""
    try:
        require_prevalence(prevalence, scorer.bundle)
    except RecipeError as error:
        raise Refusal("invalid_field", f"prevalence: {error}") from error
    return prevalence


ThePrevalence = Annotated[float | None, Depends(_the_prevalence)]


def choose_prevalence(scorer: Scorer, address: float | None, body: float | None) -> float | None:
    """The address's or the body's. Raises Refusal where they differ, or no class is melanoma."""
    if body is None or address == body:
        return address
    if address is not None:
        raise Refusal("invalid_field", "prevalence: the address says another than the body")
    return require_moved(scorer, body)


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """A route's refusals, for OpenAPI."""
    return {status: {"model": ErrorAnswer} for status in sorted(statuses)}


SCORING = refusals(400, 401, 404, 408, 413, 415, 422, 500, 503)


async def read_one(
    request: Request, service: Service, scorer: Scorer, request_type: type[RequestType]
) -> tuple[bytes, RequestType]:
    """read_photograph's photograph, counted where it cannot be read as one."""
    try:
        return await read_photograph(request, request_type)
    except Refusal as refusal:
        if refusal.code == BAD_BASE64:
            service.metrics.count_photograph(service.label(scorer), refusal.code)
        raise


async def score_each(
    request: Request, service: Service, scorer: Scorer, photographs: Sequence[bytes]
) -> list[Prediction | Refusal]:
    """A Prediction for each photograph, or the Refusal that it met. Raises Refusal without room."""
    try:
        outcomes = await service.score(scorer, photographs)
    except Exception as error:
        raise as_refusal(request, error) from error
    answers = [
        as_refusal(request, outcome) if isinstance(outcome, Exception) else outcome
        for outcome in outcomes
    ]
    for one in answers:
        outcome = one.code if isinstance(one, Refusal) else "scored"
        service.metrics.count_photograph(service.label(scorer), outcome)
    return answers


def as_refusal(request: Request, error: Exception) -> Refusal:
    """What the caller is told. Whatever a model or a GPU raises is this request's alone."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, ImageError):
        return Refusal(error.code, str(error))
    log.error("request %s: scoring failed", request_id_of(request), exc_info=error)
    if isinstance(error, ScoreError):
        return Refusal("non_finite_score", f"{error}; report the request id")
    # The log alone gets the reason.
    return Refusal("internal", "scoring failed; try again, or report the request id")


async def log_answer(
    request: Request, what: str, photographs: Sequence[bytes], seconds: float
) -> None:
    """One line of log: sizes, times and the start of a hash; no names, no scores, no bytes."""
    # Off the loop: a batch is hashed for as long as some photographs are scored.
    digest = await run_aside(_digest, *photographs)
    log.info(
        "request %s: %s of %d bytes, sha256 %s, in %.0f ms",
        request_id_of(request),
        what,
        sum(map(len, photographs)),
        digest.hex()[:8],
        seconds * 1000,
    )
