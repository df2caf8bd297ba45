"""What goes in and what comes out, as the OpenAPI page tells it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

# A procedural phantom of 32 px as WEBP: small enough to stand here, and it scores.
EXAMPLE_IMAGE = (
    "UklGRpAAAABXRUJQVlA4IIQAAADwBQCdASogACAAPu1cq04ppKQiMBgMATAdiWQAnTKACJoa3cXq0eOHlJYKFqWQ"
    "nB/1mO7cLS/ZIAD+l8mawosxpt1pe9ddf/XLTWhDk/RNDtDxaFfZ6bJIKgGFwMqWYd0/I/AeVNGN+WdkYc6Tr5ve"
    "W8aAKPuOlQBCf/jkritTO0WrgAA="
)


class PredictRequest(BaseModel):
    """The JSON body of /predict."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    image: str = Field(description="The JPEG, PNG or WEBP file in base64", examples=[EXAMPLE_IMAGE])
    explain: bool = Field(False, description="Not available yet: true is refused")
    precision: Literal["Low", "Medium", "High"] | None = Field(
        None, description="Of an explanation; not available yet"
    )


class ThresholdAnswer(BaseModel):
    """The operating point; `flagged` is melanoma_probability >= value."""

    value: float
    at: str = Field(examples=["sensitivity 0.95"])


class OperatingPointAnswer(ThresholdAnswer):
    """One more operating point, and whether it would flag this image."""

    flagged: bool


class ModelAnswer(BaseModel):
    """Which weights answered; `digest` is the sha256 of the bundle's manifest."""

    name: str
    version: int
    digest: str
    folds: int


class PredictAnswer(BaseModel):
    """A score. Probabilities are in [0, 1]; by_fold holds one for each member, in their order.

    `prevalence` is the share of melanomas that the probabilities refer to. melanoma_probability,
    threshold and flagged are null where the bundle names no melanoma class.
    """

    success: Literal[True] = True
    melanoma_probability: float | None
    prediction: str
    probability: float
    by_class: dict[str, float]
    by_fold: list[float]
    threshold: ThresholdAnswer | None
    thresholds: list[OperatingPointAnswer]
    flagged: bool | None
    calibrated: bool
    prevalence: float | None
    warnings: list[str]
    explanation: None = None
    model: ModelAnswer
    request_id: str
    milliseconds: float
    disclaimer: str


class ErrorDetail(BaseModel):
    """`code` is for programs and stays; `message` is for people and may be reworded."""

    code: str
    message: str
    request_id: str


class ErrorAnswer(BaseModel):
    """Any refusal."""

    success: Literal[False] = False
    error: ErrorDetail


class Measured(BaseModel):
    """A metric and its 95 % interval; null where it is undefined."""

    value: float | None
    low: float | None
    high: float | None


class CalibrationAnswer(BaseModel):
    """The share of melanomas among the images that the probabilities were calibrated on."""

    prevalence: float | None


class BundleAnswer(BaseModel):
    """One served bundle; `auroc` is the pooled out-of-fold one of its report, of melanoma against
    the rest, or the classes' mean where the bundle names no melanoma class."""

    name: str
    version: int
    digest: str
    folds: int
    backbone: str
    classes: list[str]
    melanoma: list[str]
    image_size: int
    fit: str
    views: int
    threshold: ThresholdAnswer | None
    calibration: CalibrationAnswer
    auroc: Measured
    warnings: list[str]


class LimitsAnswer(BaseModel):
    """What an acceptable photograph is."""

    formats: list[str]
    bytes: int
    pixels: int
    shortest_side: int
    longest_side: int
    aspect: float


class InfoAnswer(BaseModel):
    """The served bundles, the first one being the default."""

    success: Literal[True] = True
    models: list[BundleAnswer]
    limits: LimitsAnswer
    disclaimer: str


class HealthAnswer(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class ReadyAnswer(BaseModel):
    """Whether traffic may come: not before every bundle has given its golden score, nor after the
    service was told to end. `bundles` says what each one's golden image gave."""

    ready: bool
    state: Literal["starting", "ready", "failed", "leaving"]
    bundles: dict[str, str]


PREDICT_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "additionalProperties": False,
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            },
            "application/json": {
                "schema": PredictRequest.model_json_schema(),
                "example": {"image": EXAMPLE_IMAGE},
            },
        },
    }
}
