"""The context stack in a bundle's manifest: what a patient's other lesions add to a score."""

from __future__ import annotations

from typing import Any

from melanoma.evaluation.report.schema import ReportContent
from melanoma.evaluation.report.schema_patients import ContextStack


def context_statement(report: ReportContent) -> dict[str, Any]:
    """The report's stack, for the manifest; none where the log-odds that it was fitted on were
    moved to another prevalence since."""
    stack = report.patients.stack if report.patients else None
    if stack is None or report.retargeted or report.recalibrated:
        return {}
    return {"context": stack.model_dump(mode="json")}


def read_context(manifest: dict[str, Any]) -> ContextStack | None:
    """The manifest's stack; None where it has none."""
    return ContextStack.model_validate(manifest["context"]) if "context" in manifest else None
