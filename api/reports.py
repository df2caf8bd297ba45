"""The bundles' reports as they are served: read, compared and compressed once each."""

from __future__ import annotations

import gzip
import hashlib
import json
import threading
from dataclasses import dataclass

from fastapi import Request, Response

from melanoma.errors import WeightsError
from melanoma.evaluation.report.pseudonyms import without_names
from melanoma.evaluation.report.schema import ReportContent
from melanoma.scoring.scorer import Scorer


@dataclass(frozen=True)
class ServedReport:
    """report.json byte for byte, the same compressed, and the tag by which a client knows it."""

    plain: bytes
    packed: bytes
    tag: str


class Reports:
    """By the bundle's digest, which changes with every file of it."""

    def __init__(self) -> None:
        self._found: dict[str, ServedReport] = {}
        self._reading = threading.Lock()

    def read(self, scorer: Scorer) -> ServedReport:
        """The bundle's report. Raises WeightsError when the file has changed since the start."""
        digest = scorer.bundle.digest
        with self._reading:
            if digest not in self._found:
                self._found[digest] = _read(scorer)
            return self._found[digest]


def _read(scorer: Scorer) -> ServedReport:
    path = scorer.bundle.folder / "report.json"
    data = path.read_bytes()
    # What was verified at the start is what is answered, whatever became of the folder since.
    try:
        changed = ReportContent.model_validate_json(data) != scorer.bundle.report
    except ValueError:
        changed = True
    if changed:
        raise WeightsError(f"{path} was changed after the service had started")
    nameless = without_names(scorer.bundle.report)
    if nameless != scorer.bundle.report:
        # Sealed with the images' names, which are for whoever evaluates.
        data = json.dumps(nameless.model_dump(mode="json"), allow_nan=False).encode()
    # Weak: the same tag stands for both forms.
    tag = f'W/"{hashlib.sha256(data).hexdigest()[:32]}"'
    return ServedReport(data, gzip.compress(data, mtime=0), tag)


def answer_report(request: Request, report: ServedReport) -> Response:
    """The report in the form that the client reads, or 304 where it has it."""
    headers = {"ETag": report.tag, "Vary": "Accept-Encoding", "Cache-Control": "private, no-cache"}
    known = request.headers.get("if-none-match", "")
    if known.strip() == "*" or report.tag in (one.strip() for one in known.split(",")):
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", "").lower():
        headers["Content-Encoding"] = "gzip"
        return Response(report.packed, media_type="application/json", headers=headers)
    return Response(report.plain, media_type="application/json", headers=headers)
