"""Request bodies as the OpenAPI page tells them; a test posts every example."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from api.requests import (
    EXAMPLE_IMAGE,
    MAX_FILES,
    MOST_OF_A_PATIENT,
    BatchRequest,
    ExplainRequest,
    PatientRequest,
    PredictRequest,
)

_FILE = {"type": "string", "format": "binary"}
_PLAIN = {"value": {"image": EXAMPLE_IMAGE}}
_LIME = {"image": EXAMPLE_IMAGE, "method": "lime", "precision": "Low", "seed": 7}


def _body(
    schema: dict[str, Any], form: dict[str, Any], examples: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    content = {
        "multipart/form-data": {"schema": form},
        "application/json": {"schema": schema, "examples": examples},
    }
    return {"requestBody": {"required": True, "content": content}}


def _one(model: type[BaseModel], examples: dict[str, dict[str, Any]]) -> dict[str, Any]:
    schema = model.model_json_schema()
    texts = {name: field for name, field in schema["properties"].items() if name != "image"}
    form = {
        "type": "object",
        "required": ["file"],
        "additionalProperties": False,
        "properties": {"file": _FILE, **{name: _text(field) for name, field in texts.items()}},
    }
    return _body(schema, form, examples)


def _text(field: dict[str, Any]) -> dict[str, Any]:
    """A field as a form has it: left out where JSON has null."""
    (chosen,) = [kind for kind in field.get("anyOf", [field]) if kind.get("type") != "null"]
    return {**chosen, "description": field["description"]}


PREDICT_BODY = _one(
    PredictRequest,
    {
        "score": {"summary": "The score alone", **_PLAIN},
        "explain": {
            "summary": "The score and LIME's picture",
            "value": {"image": EXAMPLE_IMAGE, "explain": True, "precision": "Low"},
        },
    },
)
EXPLAIN_BODY = _one(
    ExplainRequest,
    {"gradcam": {"summary": "Grad-CAM", **_PLAIN}, "lime": {"summary": "LIME", "value": _LIME}},
)
BATCH_BODY = _body(
    BatchRequest.model_json_schema(),
    {
        "type": "object",
        "required": ["files"],
        "additionalProperties": False,
        "properties": {
            "files": {"type": "array", "items": _FILE, "minItems": 1, "maxItems": MAX_FILES},
            "prevalence": _text(BatchRequest.model_json_schema()["properties"]["prevalence"]),
        },
    },
    {"two": {"summary": "Two photographs", "value": {"images": [EXAMPLE_IMAGE] * 2}}},
)
_PATIENT = PatientRequest.model_json_schema()
PATIENT_BODY = _body(
    _PATIENT,
    {
        "type": "object",
        "required": ["files"],
        "additionalProperties": False,
        "properties": {
            "files": {
                "type": "array",
                "items": _FILE,
                "minItems": 2,
                "maxItems": MOST_OF_A_PATIENT,
            },
            **{
                name: _text(field)
                for name, field in _PATIENT["properties"].items()
                if name != "images"
            },
        },
    },
    {
        "three": {
            "summary": "Two lesions, one of them twice",
            "value": {"images": [EXAMPLE_IMAGE] * 3, "lesion_id": ["a", "a", ""]},
        }
    },
)
