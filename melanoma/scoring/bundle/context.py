"""The context stack that a bundle serves: what a patient's other lesions add to a score."""

from __future__ import annotations

from melanoma.evaluation.report.schema import ReportContent
from melanoma.evaluation.report.schema_patients import ContextStack


def served_context(report: ReportContent) -> ContextStack | None:
    """The report's stack; None where the log-odds that it was fitted on were moved to another
    prevalence since."""
    moved = report.retargeted or report.recalibrated
    return report.patients.stack if report.patients and not moved else None
