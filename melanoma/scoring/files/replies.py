"""What a service may say: its replies as records, every field checked before anything is believed.

A service is another program on another machine: it may be broken, old, or not the one that is
meant. Numbers are finite and in their range, texts are printable, shapes are as /openapi.json says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from melanoma.errors import ServiceError, plain_line
from melanoma.evaluation.disclaimer import DISCLAIMER

_LONGEST = 200  # letters of a class, a warning or a bundle's name


def _printable(text: str) -> str:
    return plain_line(text, longest=_LONGEST)


def _as_it_is(text: str) -> str:
    if text != _printable(text):
        raise ValueError("it holds control characters, or too many letters")
    return text


Text = Annotated[str, AfterValidator(_printable), Field(min_length=1)]
Name = Annotated[str, AfterValidator(_as_it_is), Field(min_length=1)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class _Reply(BaseModel):
    # A newer service may say more; what is not known here is left out.
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class Reached(_Reply):
    """A value and its interval."""

    value: Probability | None
    low: Probability | None = None
    high: Probability | None = None


class DescribedResult(_Reply):
    """What a bundle reached on a set that it was not trained on, as /info tells it."""

    name: Text
    source: Annotated[str, AfterValidator(_printable)] = ""
    images: Annotated[int, Field(ge=0)]
    auroc: Reached
    sensitivity: Reached | None = None
    specificity: Reached | None = None
    # Of the same training without these sources; an older service does not say it.
    without: Annotated[str, AfterValidator(_printable)] | None = None


class DescribedModel(_Reply):
    """A bundle, as /info names it."""

    name: Name
    version: Annotated[int, Field(ge=0)] = 1
    digest: Digest
    views: Annotated[int, Field(ge=1, le=8)]
    melanoma: list[Name]
    classes: list[Name] = []  # an older service does not say it
    image_size: Annotated[int, Field(ge=1)] | None = None
    backend: Name | None = None  # an older service does not say it
    precision: Name | None = None
    external: Annotated[list[DescribedResult], Field(max_length=100)] = []


class _Threshold(_Reply):
    value: Probability
    at: Text = "stated by the service"
    sensitivity: Reached | None = None
    specificity: Reached | None = None


class _Model(_Reply):
    digest: Digest
    image_type: Name | None = None  # an older service does not say it


class _Verdict(_Reply):
    code: Name
    text: Text


class _Set(_Reply):
    level: Probability
    classes: Annotated[list[Text], Field(min_length=1, max_length=10_000)]


class _Frequency(_Reply):
    text: Text


class _Quality(_Reply):
    ok: bool
    reasons: Annotated[list[Name], Field(max_length=100)]


class _Novelty(_Reply):
    score: Annotated[float, Field(allow_inf_nan=False)]
    threshold: Annotated[float, Field(allow_inf_nan=False)]
    is_novel: bool


class ScoreReply(_Reply):
    """What /predict says of a photograph, as far as a row needs it."""

    melanoma_probability: Probability | None
    flagged: bool | None
    threshold: _Threshold | None
    prediction: Text
    probability: Probability
    by_class: Annotated[dict[Text, Probability], Field(min_length=1, max_length=10_000)]
    by_fold: Annotated[list[Probability], Field(min_length=1, max_length=10_000)]
    warnings: Annotated[list[Text], Field(max_length=100)]
    model: _Model
    calibrated: bool | None = None  # an older service does not say it
    prevalence: Probability | None = None
    disclaimer: Text = DISCLAIMER
    verdict: _Verdict | None = None
    set: _Set | None = None
    frequency: _Frequency | None = None
    quality: _Quality | None = None
    novelty: _Novelty | None = None

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> ScoreReply:
        if self.prediction not in self.by_class:
            raise ValueError("prediction is none of by_class")
        if sum(self.by_class.values()) > 1 + 1e-3:
            raise ValueError("by_class adds up to more than 1")
        score, threshold = self.melanoma_probability, self.threshold
        if (
            self.flagged is not None
            and score is not None
            and threshold is not None
            and self.flagged != (score >= threshold.value)
        ):
            raise ValueError("flagged is not what melanoma_probability and threshold say")
        return self


_MODELS: TypeAdapter[list[DescribedModel]] = TypeAdapter(list[DescribedModel])


def read_models(info: Mapping[str, Any], address: str) -> list[DescribedModel]:
    """The bundles that /info names, at least one. Raises ServiceError."""
    try:
        models = _MODELS.validate_python(info.get("models"), strict=True)
    except ValidationError as error:
        raise ServiceError(
            f"{address}/info names no model ({_first(error)}); is a melanoma service there?"
        ) from None
    if not models:
        raise ServiceError(f"{address}/info names no model; is a melanoma service there?")
    return models


def read_score(answer: Mapping[str, Any], address: str) -> ScoreReply:
    """The score in a reply of /predict. Raises ServiceError naming the first wrong field."""
    fields = ScoreReply.model_fields.items()
    missing = [name for name, field in fields if field.is_required() and name not in answer]
    if missing:
        raise ServiceError(f"{address}/predict answers without {', '.join(missing)}")
    try:
        return ScoreReply.model_validate(answer)
    except ValidationError as error:
        raise ServiceError(
            f"{address}/predict answers with what is no score: {_first(error)}"
        ) from None


def _first(error: ValidationError) -> str:
    fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(map(str, fault["loc"]))
    return plain_line(f"{place}: {fault['msg']}" if place else fault["msg"], longest=_LONGEST)
