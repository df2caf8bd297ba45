"""What goes in: the JSON bodies, the form's text fields, and what each of them may say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
)

from api.error_answers import Refusal
from melanoma.evaluation.asked_prevalence import (
    A_PREVALENCE,
    GREATEST_PREVALENCE,
    LEAST_PREVALENCE,
)
from melanoma.scoring.explain.explain_options import PRECISIONS, Precision, as_precision
from melanoma.scoring.explain.explainer_catalog import EXPLAINERS

# A procedural phantom of 32 px as WEBP: small enough to stand here, and it scores.
EXAMPLE_IMAGE = (
    "UklGRpAAAABXRUJQVlA4IIQAAADwBQCdASogACAAPu1cq04ppKQiMBgMATAdiWQAnTKACJoa3cXq0eOHlJYKFqWQ"
    "nB/1mO7cLS/ZIAD+l8mawosxpt1pe9ddf/XLTWhDk/RNDtDxaFfZ6bJIKgGFwMqWYd0/I/AeVNGN+WdkYc6Tr5ve"
    "W8aAKPuOlQBCf/jkritTO0WrgAA="
)
MAX_FILES = 32
MOST_OF_A_PATIENT = 64
_MOST_YEARS = 120
MAX_SEED = 2**32 - 1
_EVALUATIONS = ", ".join(f"{name} ({count})" for name, count in PRECISIONS.items())
# What a refusal says of a field whose value cannot be meant.
ALLOWED = {
    "image": "the JPEG, PNG or WEBP file in base64, as one text",
    "images": f"a list of up to {MAX_FILES} files in base64, {MOST_OF_A_PATIENT} of one patient",
    "site": "one for each photograph, in their order, empty where it is not known",
    "lesion_id": "one for each photograph, in their order, empty where each is a lesion of its own",
    "age": f"years, from 0 to {_MOST_YEARS}",
    "sex": "female or male",
    "explain": "true or false",
    "method": " or ".join(EXPLAINERS),
    "precision": f"LIME's evaluations: {_EVALUATIONS}",
    "class": "the name of a class; GET /classes lists them",
    "prevalence": f"the share of melanomas where it is used, {A_PREVALENCE}",
    "seed": f"a whole number from 0 to {MAX_SEED}",
}
_MOST_COMMAS = 1000
_PIECE = 1 << 20
_DECIMAL = re.compile(r"[0-9]{0,3}\.?[0-9]{1,20}(e-[0-9]{1,2})?")
_WHOLE = re.compile(r"-?[0-9]{1,12}")


def _known(method: str) -> str:
    if method not in EXPLAINERS:
        raise ValueError(ALLOWED["method"])
    return method


_Method = Annotated[
    str, AfterValidator(_known), WithJsonSchema({"type": "string", "enum": list(EXPLAINERS)})
]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ExplainRequest(_Body):
    """The JSON body of /explain; all but `image` may be text fields of a form as well."""

    image: str = Field(
        description="The JPEG, PNG or WEBP file in base64",
        examples=[EXAMPLE_IMAGE],
        json_schema_extra={"contentEncoding": "base64"},
    )
    method: _Method | None = Field(
        None, description="Of /explain gradcam by default, of /predict lime"
    )
    precision: Annotated[Precision, BeforeValidator(as_precision)] | None = Field(
        None,
        description=f"{ALLOWED['precision']}; Medium by default. "
        "GET /info tells which of them end within the deadline here; others are refused",
    )
    target: str | None = Field(
        None,
        alias="class",
        description="The class that is explained, `melanoma` for all that count as it; "
        "the predicted one by default",
    )
    seed: int | None = Field(
        None, ge=0, le=MAX_SEED, description="Of LIME's superpixels; 0 by default"
    )


_PREVALENCE = Field(
    None,
    ge=LEAST_PREVALENCE,
    le=GREATEST_PREVALENCE,
    allow_inf_nan=False,
    description="The share of melanomas where it is used: probabilities, thresholds and sentences "
    "move there together, flags stay. The bundle's own by default",
)


class PredictRequest(ExplainRequest):
    """The JSON body of /predict; the fields of an explanation count where `explain` is true."""

    explain: bool = Field(False, description="Whether the answer holds an explanation")
    prevalence: float | None = _PREVALENCE


class BatchRequest(_Body):
    """The JSON body of /predict/batch."""

    images: list[str] = Field(
        description=f"Up to {MAX_FILES} JPEG, PNG or WEBP files in base64",
        examples=[[EXAMPLE_IMAGE]],
        json_schema_extra={"minItems": 1, "maxItems": MAX_FILES},
    )
    prevalence: float | None = _PREVALENCE


_Text = Annotated[str, Field(max_length=100)]


class PatientRequest(_Body):
    """The JSON body of /predict/patient; all but `images` may be text fields of a form as well,
    `site` and `lesion_id` once for each photograph."""

    images: list[str] = Field(
        description=f"2 to {MOST_OF_A_PATIENT} JPEG, PNG or WEBP files of one patient in base64",
        examples=[[EXAMPLE_IMAGE] * 3],
        json_schema_extra={"minItems": 2, "maxItems": MOST_OF_A_PATIENT},
    )
    site: list[_Text] | None = Field(
        None,
        description=f"Where each lesion is: {ALLOWED['site']}",
        examples=[["torso", "", "arm"]],
    )
    lesion_id: list[_Text] | None = Field(
        None,
        description="Photographs of one lesion have one lesion_id: " + ALLOWED["lesion_id"],
        examples=[["a", "a", ""]],
    )
    age: float | None = Field(
        None, ge=0, le=_MOST_YEARS, description="The patient's, in years; not used by the score"
    )
    sex: Literal["female", "male"] | None = Field(
        None, description="The patient's; not used by the score"
    )


def parse_patient(values: Mapping[str, object]) -> PatientRequest:
    """The request that a form's text fields amount to, without its photographs. Raises Refusal."""
    plain = dict(values)
    age = plain.get("age")
    if isinstance(age, str) and _DECIMAL.fullmatch(age):
        plain["age"] = float(age)
    if "images" in plain:
        raise Refusal(
            "unknown_field", "the form has fields beyond `files`, site, lesion_id, age, sex"
        )
    try:
        return PatientRequest.model_validate({**plain, "images": []})
    except ValidationError as error:
        raise _refusal(error, PatientRequest, "") from None


Body = TypeVar("Body", bound=_Body)


def known_fields(body: type[_Body]) -> list[str]:
    """The names of its fields, as a caller writes them."""
    return [field.alias or name for name, field in body.model_fields.items()]


def parse_body(data: bytes, body: type[Body], *, missing: str) -> Body:
    """The JSON body. Raises Refusal; `missing` is its message when there is no photograph."""
    if not data:
        raise Refusal("missing_file", missing)
    # Counted first: of values that no request has, millions fit into a body and not into memory.
    if _has_many_values(data):
        raise Refusal("bad_json", "the JSON holds more values than any request has")
    try:
        return body.model_validate_json(data)
    except ValidationError as error:
        raise _refusal(error, body, missing) from None


def _has_many_values(data: bytes) -> bool:
    """By their commas, a piece at a time: other threads go on in between."""
    commas = 0
    for start in range(0, len(data), _PIECE):
        commas += data.count(b",", start, start + _PIECE)
        if commas > _MOST_COMMAS:
            return True
    return False


def parse_texts(texts: Mapping[str, str], body: type[Body]) -> Body:
    """The body that a form's text fields amount to, its image empty. Raises Refusal."""
    values = {name: _plain(name, text) for name, text in texts.items()}
    photographs: dict[str, object] = {"image": ""}
    if "images" in body.model_fields:
        photographs = {"images": []}
    try:
        return body.model_validate({**values, **photographs})
    except ValidationError as error:
        raise _refusal(error, body, "") from None


def _plain(name: str, text: str) -> object:
    """The value that JSON would have; what is none stays text, and is refused."""
    if name == "explain":
        return {"true": True, "false": False}.get(text, text)
    if name == "prevalence" and _DECIMAL.fullmatch(text):
        return float(text)
    return int(text) if name == "seed" and _WHOLE.fullmatch(text) else text


def _refusal(error: ValidationError, body: type[_Body], missing: str) -> Refusal:
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    kinds = {str(problem["type"]): problem for problem in problems}
    known = known_fields(body)
    if "extra_forbidden" in kinds:
        message = f"the JSON has an unknown field; known: {', '.join(known)}"
        return Refusal("unknown_field", f"{message}. precision stands for {ALLOWED['precision']}")
    if "json_invalid" in kinds:
        return Refusal("bad_json", "the body is not JSON")
    if "model_type" in kinds:
        return Refusal("bad_json", f'the body is not a JSON object; send {{"{known[0]}": ...}}')
    if "missing" in kinds:
        return Refusal("missing_file", missing)
    field = str(problems[0]["loc"][0])
    return Refusal("invalid_field", f"{field}: {ALLOWED[field]}")
