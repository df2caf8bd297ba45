"""A report without the names of images and patients: how it is sealed, shipped and served."""

from __future__ import annotations

from typing import TypeVar

from melanoma.data.name_digests import training_name_digest
from melanoma.evaluation.report.schema import ReportContent
from melanoma.evaluation.report.schema_parts import LeakAudit

Audit = TypeVar("Audit", bound=LeakAudit)


def without_names(content: ReportContent) -> ReportContent:
    """The report, its images under digests of their names and its findings without examples.

    What is left (counts, sentences, the subgroups that were asked for) is as it was; a report that
    has no names is returned equal.
    """
    errors = [
        error.model_copy(update={"image_name": training_name_digest(error.image_name)})
        for error in content.largest_errors
    ]
    external = content.external
    if external:
        overlap = _without_examples(external.overlap)
        external = external.model_copy(update={"overlap": overlap})
    summary = content.summary
    for warning in content.warnings:
        # It repeats the gravest one.
        summary = summary.replace(_plain(warning), _plain(_first_part(warning)))
    return content.model_copy(
        update={
            "summary": summary,
            "largest_errors": tuple(errors),
            "leaks": _without_examples(content.leaks),
            "external": external,
            "warnings": tuple(_first_part(text) for text in content.warnings),
        }
    )


def _without_examples(audit: Audit) -> Audit:
    findings = tuple(finding.split(" (")[0] for finding in audit.findings)
    return audit.model_copy(update={"findings": findings})


def _first_part(warning: str) -> str:
    return warning.split(" (")[0] if warning.startswith("LEAK: ") else warning


def _plain(warning: str) -> str:
    return warning.removeprefix("LEAK: ").rstrip(".")
