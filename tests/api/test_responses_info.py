"""What the routes about the service answer: no field of a record is left out of its answer.

An answer takes what it names and drops the rest without a word; conftest's refusal sees only what
a bundle of the tests has.
"""

from __future__ import annotations

from typing import get_args, get_type_hints

import pytest
from pydantic import BaseModel

from api.readiness import State
from api.responses_info import (
    ExplainChoice,
    ExternalAnswer,
    MetricAnswer,
    QualityLimitsAnswer,
    ReadyAnswer,
    RoundingAnswer,
)
from melanoma.evaluation.metrics.metric_catalog import METRICS
from melanoma.evaluation.metrics.spec import MetricSpec
from melanoma.evaluation.report.schema import ExternalResult
from melanoma.evaluation.report.schema_parts import Measured
from melanoma.evaluation.report.schema_quality import PictureQuality, QualityLimits
from melanoma.evaluation.report.schema_rounding import Rounding
from melanoma.scoring.explain.explain_options import Question
from melanoma.scoring.explain.explainer_catalog import EXPLAINERS


@pytest.mark.parametrize(
    ("answer", "record", "beside"),
    [
        (ExternalAnswer, ExternalResult, set()),
        (QualityLimitsAnswer, QualityLimits, {"stopped", "held_out"}),
    ],
)
def test_an_answer_has_every_field_of_the_record_that_it_tells_of(
    answer: type[BaseModel], record: type[BaseModel], beside: set[str]
) -> None:
    assert answer.model_fields.keys() == record.model_fields.keys() | beside
    assert beside <= PictureQuality.model_fields.keys()


def test_what_bfloat16_changes_is_told_whole_and_whether_it_holds() -> None:
    assert RoundingAnswer.model_fields.keys() == Rounding.model_fields.keys() | {"holds"}
    assert isinstance(Rounding.holds, property)


def test_a_result_of_a_training_without_a_set_says_so() -> None:
    unknown = Measured(value=None)
    result = ExternalResult(
        name="clinic",
        source="",
        date="2026-01-02",
        images=5,
        positives=None,
        patients=None,
        auroc=unknown,
        at=None,
        threshold=None,
        sensitivity=unknown,
        specificity=unknown,
        without="siim",
        warnings=("few images",),
    )
    answer = ExternalAnswer.model_validate(result.model_dump())
    assert (answer.without, answer.warnings) == ("siim", ["few images"])


def test_words_of_an_answer_are_those_of_the_library() -> None:
    assert ReadyAnswer.model_fields["state"].annotation == State
    told, known = get_type_hints(MetricAnswer), get_type_hints(MetricSpec)
    for name in ("unit", "better"):
        assert get_args(told[name]) == get_args(known[name])
        assert {getattr(spec, name) for spec in METRICS.values()} <= {*get_args(told[name])}
    assert ExplainChoice.model_fields.keys() == {"method", "title", "options"}
    read = {option for entry in EXPLAINERS.values() for option in entry.options}
    assert read <= set(get_type_hints(Question))
