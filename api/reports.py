"""The bundles' reports and charts as they are served: read, compared and compressed once each."""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
import re
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass

from fastapi import Request, Response

from api.error_answers import Refusal
from api.responses import ModelAnswer
from api.responses_info import ChartsAnswer
from melanoma.evaluation.render.chart_words import LANGUAGES, Words
from melanoma.evaluation.render.charts import draw_charts
from melanoma.evaluation.render.html import render_html
from melanoma.evaluation.render.model_card import render_card
from melanoma.evaluation.report.pseudonyms import without_names
from melanoma.evaluation.report.schema import ReportContent
from melanoma.scoring.scorer import Scorer

log = logging.getLogger("melanoma.api")
_CHANGED = (
    "the bundle's report was changed or removed after the service had started; scores are those of "
    "the bundle as it was, and a new start serves it as it is"
)


@dataclass(frozen=True)
class ServedReport:
    """The JSON byte for byte, the same compressed, and the tag by which a client knows it."""

    plain: bytes
    packed: bytes
    tag: str
    media: str = "application/json"


class Reports:
    """By the bundle's digest, which changes with every file of it."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], ServedReport] = {}
        self._reading = threading.Lock()

    def read(self, scorer: Scorer) -> ServedReport:
        """The bundle's report. Raises Refusal when the file has changed since the start."""
        return self._once(scorer, "", lambda: _read(scorer))

    def draw(self, scorer: Scorer, language: str) -> ServedReport:
        """The report's charts, {"charts": {NAME: SVG}}, their words in a language of LANGUAGES."""
        return self._once(scorer, language, lambda: _draw(scorer, language))

    def page(self, scorer: Scorer) -> ServedReport:
        """report.html, without images' names."""
        return self._once(scorer, "html", lambda: _page(scorer))

    def card(self, scorer: Scorer) -> ServedReport:
        """MODEL_CARD.md, without images' names."""
        return self._once(scorer, "card", lambda: _card(scorer))

    def _once(self, scorer: Scorer, what: str, make: Callable[[], ServedReport]) -> ServedReport:
        key = scorer.bundle.digest, what
        with self._reading:
            if key not in self._found:
                self._found[key] = make()
            return self._found[key]


def _read(scorer: Scorer) -> ServedReport:
    path = scorer.bundle.folder / "report.json"
    # What was verified at the start is what is answered, whatever became of the folder since.
    try:
        data = path.read_bytes()
        changed = ReportContent.model_validate_json(data) != scorer.bundle.report
    except (OSError, ValueError):
        changed = True
    if changed:
        log.error("%s was changed or removed after the service had started", path)
        raise Refusal("internal", _CHANGED)
    nameless = without_names(scorer.bundle.report)
    if nameless != scorer.bundle.report:
        # Sealed with the images' names, which are for whoever evaluates.
        data = json.dumps(nameless.model_dump(mode="json"), allow_nan=False).encode()
    return _pack(data)


def _draw(scorer: Scorer, language: str) -> ServedReport:
    charts = draw_charts(scorer.bundle.report, Words(language))
    answer = ChartsAnswer(model=ModelAnswer(**asdict(scorer.info())), charts=charts)
    return _pack(answer.model_dump_json().encode())


def _page(scorer: Scorer) -> ServedReport:
    return _pack(render_html(without_names(scorer.bundle.report)).encode(), "text/html")


def _card(scorer: Scorer) -> ServedReport:
    bundle = scorer.bundle
    # Not the folder's, which may have been sealed anew since the start.
    assert bundle.recipe is not None
    text = render_card(without_names(bundle.report), bundle.recipe)
    return _pack(text.encode(), "text/markdown")


def _pack(data: bytes, media: str = "application/json") -> ServedReport:
    # Weak: the same tag stands for both forms.
    tag = f'W/"{hashlib.sha256(data).hexdigest()[:32]}"'
    return ServedReport(data, gzip.compress(data, mtime=0), tag, media)


def preferred_language(request: Request) -> str:
    """The first of Accept-Language that LANGUAGES has; English where none is."""
    asked = request.headers.get("accept-language", "")[:200].split(",")
    languages = (one.strip()[:2].lower() for one in asked)
    return next((one for one in languages if one in LANGUAGES), "en")


_NO_GZIP = re.compile(r"\bgzip\s*;\s*q=0(\.0*)?\s*(,|$)")


def takes_gzip(accepted: str) -> bool:
    """Whether an Accept-Encoding has gzip, and not at a weight of 0."""
    return "gzip" in accepted.lower() and not _NO_GZIP.search(accepted.lower())


def answer_report(request: Request, report: ServedReport, *, name: str | None = None) -> Response:
    """The report in the form that the client reads, or 304 where it has it; with a `name`, as a
    file to save."""
    headers = {
        "ETag": report.tag,
        "Vary": "Accept-Encoding, Accept-Language",
        "Cache-Control": "private, no-cache",
    }
    if name is not None:
        headers["Content-Disposition"] = f'attachment; filename="{name}"'
    known = request.headers.get("if-none-match", "")
    # Compared as RFC 9110 says: a cache on the way may have left the W/ out.
    tags = (one.strip().removeprefix("W/") for one in known.split(","))
    if known.strip() == "*" or report.tag.removeprefix("W/") in tags:
        return Response(status_code=304, headers=headers)
    if takes_gzip(request.headers.get("accept-encoding", "")):
        headers["Content-Encoding"] = "gzip"
        return Response(report.packed, media_type=report.media, headers=headers)
    return Response(report.plain, media_type=report.media, headers=headers)
