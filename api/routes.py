"""The routes about the service and its bundles, and the page."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, JSONResponse
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from api.aside import run_aside
from api.dependencies import Guarded, TheScorer, TheService, refusals
from api.reports import answer_report, preferred_language
from api.responses import ModelAnswer
from api.responses_info import (
    BundleAnswer,
    ChartsAnswer,
    ClassAnswer,
    ClassesAnswer,
    HealthAnswer,
    InfoAnswer,
    LimitsAnswer,
    MetricAnswer,
    ReadyAnswer,
)
from api.service import Service
from melanoma.data import images
from melanoma.evaluation.disclaimer import DISCLAIMER
from melanoma.evaluation.metrics.metric_catalog import METRICS
from melanoma.evaluation.metrics.spec import MetricSpec
from melanoma.evaluation.render.figures import CHARTS_CSS
from melanoma.evaluation.report.pseudonyms import without_names
from melanoma.evaluation.report.schema_quality import PictureQuality
from melanoma.evaluation.report.schema_rounding import Rounding
from melanoma.scoring.explain.explain_options import PRECISIONS
from melanoma.scoring.explain.explainer_catalog import EXPLAINERS
from melanoma.scoring.scorer import Scorer

router = APIRouter()
PAGE = Path(__file__).parent / "page"


@router.get("/openapi.json", dependencies=[Guarded], include_in_schema=False)
async def openapi(request: Request) -> JSONResponse:
    """What the service takes and answers."""
    prefix = request.scope.get("root_path", "")
    servers = {"servers": [{"url": prefix}]} if prefix else {}
    return JSONResponse({**request.app.openapi(), **servers})


@router.get("/info", dependencies=[Guarded], responses=refusals(401))
async def info(service: TheService) -> InfoAnswer:
    """The served bundles: what they are, how well they rank, and what they accept."""
    limits = LimitsAnswer(
        formats=list(images.FORMATS),
        bytes=images.MAX_BYTES,
        pixels=images.MAX_PIXELS,
        shortest_side=images.MIN_SIDE,
        longest_side=images.MAX_SIDE,
        aspect=images.MAX_ASPECT,
    )
    await service.know_costs()
    described = [_describe(service, scorer) for scorer in service.scorers.values()]
    metrics = {name: _describe_metric(spec) for name, spec in METRICS.items()}
    return InfoAnswer(
        models=described,
        metrics=metrics,
        limits=limits,
        decoder=images.DECODER_VERSION,
        disclaimer=DISCLAIMER,
    )


def _describe_metric(spec: MetricSpec) -> MetricAnswer:
    return MetricAnswer(
        title={"en": spec.title, "fr": spec.title_fr},
        short=spec.short,
        explanation=spec.explanation,
        unit=spec.unit,
        better=spec.better,
        card=spec.card.rank if spec.card and spec.card.page else None,
    )


def _describe(service: Service, scorer: Scorer) -> BundleAnswer:
    label = service.label(scorer)
    bundle, metrics = scorer.bundle, scorer.bundle.report.metrics
    offered = service.costs.offered(label)
    expected = {name: service.costs.expect(label, name) for name in offered}
    explainers = {
        name: entry
        for name, entry in EXPLAINERS.items()
        if offered or "precision" not in entry.options
    }
    return BundleAnswer.model_validate(
        {
            **asdict(scorer.info()),
            "backbone": bundle.backbone,
            "classes": list(bundle.classes),
            "melanoma": list(bundle.melanoma),
            "image_size": bundle.size,
            "fit": bundle.fit,
            "views": scorer.views,
            "manifest_sha256": bundle.manifest_sha256,
            "threshold": asdict(bundle.points[0]) if bundle.points else None,
            "calibration": {"prevalence": bundle.prevalence},
            "auroc": (metrics.get("auroc") or metrics["macro_auroc"]).model_dump(),
            "warnings": without_names(bundle.report).warnings,
            "license": bundle.license,
            "quality": _quality(bundle.report.quality),
            "bfloat16": _bfloat16(bundle.report.bfloat16),
            "novelty": {"threshold": bundle.novelty.threshold} if bundle.novelty else None,
            "decoder": bundle.decoder,
            "phantoms": bundle.phantoms,
            "external": [result.model_dump() for result in bundle.report.external_results],
            "explain": {
                "methods": list(explainers),
                "choices": [
                    {"method": name, "title": entry.title, "options": entry.options}
                    for name, entry in explainers.items()
                ],
                "precisions": {
                    name: {"evaluations": PRECISIONS[name], "seconds": seconds}
                    for name, seconds in expected.items()
                },
            },
            "explanations": {
                "precision": {
                    name: {"samples": PRECISIONS[name], "expected_seconds": seconds}
                    for name, seconds in expected.items()
                },
                "deadline_seconds": service.costs.deadline,
            },
        }
    )


def _bfloat16(rounding: Rounding | None) -> dict[str, Any] | None:
    return {**rounding.model_dump(), "holds": rounding.holds} if rounding else None


def _quality(quality: PictureQuality | None) -> dict[str, Any] | None:
    return (
        {**quality.limits.model_dump(), **quality.model_dump(include={"stopped", "held_out"})}
        if quality
        else None
    )


@router.get("/classes", dependencies=[Guarded], responses=refusals(401, 404, 422))
async def classes(scorer: TheScorer) -> ClassesAnswer:
    """A bundle's classes."""
    bundle = scorer.bundle
    return ClassesAnswer(
        model=ModelAnswer(**asdict(scorer.info())),
        classes=[ClassAnswer(name=n, melanoma=n in bundle.melanoma) for n in bundle.classes],
    )


@router.get(
    "/report",
    dependencies=[Guarded],
    response_class=Response,
    responses={
        200: {"content": {"application/json": {"schema": {"type": "object"}}}},
        304: {"description": "The report whose ETag was sent as If-None-Match"},
        **refusals(401, 404, 422, 500),
    },
)
async def report(request: Request, service: TheService, scorer: TheScorer) -> Response:
    """A bundle's report.json as it was sealed, byte for byte; images' names as digests at most."""
    served_report = await run_aside(service.reports.read, scorer)
    return answer_report(request, served_report)


@router.get(
    "/charts",
    dependencies=[Guarded],
    response_class=Response,
    responses={
        200: {"model": ChartsAnswer},
        304: {"description": "The charts whose ETag was sent as If-None-Match"},
        **refusals(401, 404, 422),
    },
)
async def charts(request: Request, service: TheService, scorer: TheScorer) -> Response:
    """The charts of a bundle's report, those of report.html; in French by Accept-Language: fr."""
    language = preferred_language(request)
    drawn = await run_aside(service.reports.draw, scorer, language)
    return answer_report(request, drawn)


@router.get(
    "/report.html",
    dependencies=[Guarded],
    response_class=Response,
    responses={
        200: {"content": {"text/html": {}}},
        304: {"description": "The page whose ETag was sent as If-None-Match"},
        **refusals(401, 404, 422),
    },
)
async def report_page(request: Request, service: TheService, scorer: TheScorer) -> Response:
    """A bundle's report.html, to be saved; images' names as digests at most."""
    html_report = await run_aside(service.reports.page, scorer)
    return answer_report(request, html_report, name=f"{scorer.bundle.name}_report.html")


@router.get(
    "/MODEL_CARD.md",
    dependencies=[Guarded],
    response_class=Response,
    responses={
        200: {"content": {"text/markdown": {}}},
        304: {"description": "The card whose ETag was sent as If-None-Match"},
        **refusals(401, 404, 422),
    },
)
async def model_card(request: Request, service: TheService, scorer: TheScorer) -> Response:
    """A bundle's MODEL_CARD.md, to be saved."""
    card = await run_aside(service.reports.card, scorer)
    return answer_report(request, card, name=f"{scorer.bundle.name}_MODEL_CARD.md")


@router.get("/static/charts.css", include_in_schema=False)
async def charts_css() -> FileResponse:
    """The look of the charts, report.html's own; the page sets their colors."""
    return FileResponse(CHARTS_CSS)


@router.get(
    "/metrics",
    dependencies=[Guarded],
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **refusals(401)},
)
async def metrics(service: TheService) -> Response:
    """What Prometheus reads."""
    return Response(service.metrics.text(), media_type=CONTENT_TYPE_PLAIN_0_0_4)


@router.get("/healthz")
async def healthz() -> HealthAnswer:
    """200 while the process answers."""
    return HealthAnswer()


@router.get("/readyz", responses={503: {"model": ReadyAnswer}})
async def readyz(service: TheService, response: Response) -> ReadyAnswer:
    """200 once every bundle has given its golden score, 503 before and again after SIGTERM."""
    readiness = service.readiness
    response.status_code = 200 if readiness.ready else 503
    return ReadyAnswer(ready=readiness.ready, state=readiness.state, bundles=readiness.bundles)


@router.get("/", include_in_schema=False)
async def page() -> FileResponse:
    """The page."""
    return FileResponse(PAGE / "index.html")
