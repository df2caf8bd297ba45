"""Explanations as a service answers them: a record a method, as the OpenAPI page tells it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from melanoma.scoring.explain.explain_options import Precision


class ExplanationAnswer(BaseModel):
    """What every explanation says; `method` names the rest."""

    target: str = Field(alias="class")
    folds: list[int]
    seconds: float
    picture: str = Field(
        description="PNG in base64", json_schema_extra={"contentEncoding": "base64"}
    )
    fit: Literal["squash", "center"]
    method: str


class LimeSegment(BaseModel):
    """A superpixel: what showing it adds to the class's probability, and its share of the area."""

    segment: int
    weight: float
    area: float


class LimeAnswer(ExplanationAnswer):
    """LIME: `intercept` and the superpixels' weights are a linear model of the probability, and
    `r2` says how well it fits; near 0, the weights mean little."""

    method: Literal["lime"]
    precision: Precision
    evaluations: int
    seed: int
    intercept: float
    r2: float
    segments: list[LimeSegment]


class GradcamAnswer(ExplanationAnswer):
    """Grad-CAM: `heat` holds rows of numbers in [0, 1], 1 where most speaks for the class."""

    method: Literal["gradcam"]
    heat: list[list[float]]
