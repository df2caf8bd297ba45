"""What a finished model reached on sets that it was not trained on, beside its own report."""

from __future__ import annotations

from melanoma.errors import RecipeError
from melanoma.evaluation.report.assemble import with_words
from melanoma.evaluation.report.pseudonyms import without_names
from melanoma.evaluation.report.schema import ExternalResult, ReportContent
from melanoma.evaluation.report.schema_parts import Measured


def external_result(content: ReportContent, *, source: str = "") -> ExternalResult:
    """The result that a report on an external set amounts to; `source` says what its images are.

    Raises RecipeError for a report that is none, or of a test part, which is of the same source.
    """
    external = content.external
    if external is None or external.test_part:
        raise RecipeError(f"{content.recipe}: this is no report on an external set")
    unknown = Measured(value=None)
    first = content.thresholds[0] if content.thresholds else None
    return ExternalResult(
        name=external.recipe,
        source=source,
        date=content.created[:10],
        images=content.data.images,
        positives=content.data.positives,
        patients=content.data.patients,
        auroc=content.metrics.get("auroc") or content.metrics.get("macro_auroc") or unknown,
        at=first.at if first else None,
        threshold=first.value if first else None,
        sensitivity=first.sensitivity if first else unknown,
        specificity=first.specificity if first else unknown,
        members_sensitivity=external.members_sensitivity,
        members_specificity=external.members_specificity,
        warnings=without_names(content).warnings,
    )


def with_external(content: ReportContent, result: ExternalResult) -> ReportContent:
    """The model's own report with the result beside it, in place of an earlier one of that name;
    those of a training without a source stay."""
    others = [one for one in content.external_results if one.name != result.name or one.without]
    return with_words(content.model_copy(update={"external_results": (*others, result)}))
