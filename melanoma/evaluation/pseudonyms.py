"""A report without the names of images and patients: how it is sealed, shipped and served."""

from __future__ import annotations

from typing import Any

from melanoma.data.name_digests import training_name_digest

Content = dict[str, Any]


def without_names(content: Content) -> Content:
    """The report, its images under digests of their names and its findings without examples.

    What is left (counts, sentences, the subgroups that were asked for) is as it was; a report that
    has no names is returned equal.
    """
    errors = [
        {**error, "image_name": training_name_digest(error["image_name"])}
        for error in content["largest_errors"]
    ]
    external = content["external"]
    if external:
        external = {**external, "overlap": _without_examples(external["overlap"])}
    summary = content["summary"]
    for warning in content["warnings"]:
        # It repeats the gravest one.
        summary = summary.replace(_plain(warning), _plain(_first_part(warning)))
    return {
        **content,
        "summary": summary,
        "largest_errors": errors,
        "leaks": _without_examples(content["leaks"]),
        "external": external,
        "warnings": [_first_part(text) for text in content["warnings"]],
    }


def _without_examples(audit: Content) -> Content:
    return {**audit, "findings": [finding.split(" (")[0] for finding in audit["findings"]]}


def _first_part(warning: str) -> str:
    return warning.split(" (")[0] if warning.startswith("LEAK: ") else warning


def _plain(warning: str) -> str:
    return warning.removeprefix("LEAK: ").rstrip(".")
