"""What comes out, as the OpenAPI page tells it."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, Field

from melanoma.recipe.any_of import AnyOf
from melanoma.recipe.sections import ImageType, Risk
from melanoma.scoring.explain.answers import ExplanationAnswer
from melanoma.scoring.explain.explainer_catalog import EXPLAINERS
from melanoma.scoring.quality import Reason
from melanoma.scoring.verdict import Code


class MeasuredAnswer(BaseModel):
    """A metric and its 95 % interval; null where it is undefined."""

    value: float | None
    low: float | None
    high: float | None


class ThresholdAnswer(BaseModel):
    """The operating point; `flagged` is melanoma_probability >= value. Its sensitivity and
    specificity are those of the bundle's own held-out images, null where they are not known. Of one
    that was asked for they are known to about a percentage point, without an interval."""

    value: float
    at: str = Field(examples=["sensitivity 0.95"])
    sensitivity: MeasuredAnswer | None = None
    specificity: MeasuredAnswer | None = None


class OperatingPointAnswer(ThresholdAnswer):
    """One more operating point, and whether it would flag this image."""

    flagged: bool


class VerdictAnswer(BaseModel):
    """What the score comes to: `code` for programs, `text` for people, with the next step.

    Where several hold, the first counts. unscorable: the photograph is none that the model can
    judge, and its probabilities mean nothing. flagged: melanoma_probability >= threshold.
    other_cancer_likely: not flagged for melanoma, but another cancer or precursor is likely enough.
    unsure: neither, but the model cannot tell what it is. not_flagged: none of these.
    """

    code: Code
    text: str


class OtherCancerAnswer(BaseModel):
    """The probability of the other malignant and premalignant classes if it is no melanoma, and
    the value from which the verdict tells of them."""

    probability_if_no_melanoma: float
    value: float
    at: str
    classes: list[str]


class SetAnswer(BaseModel):
    """The classes that it may be, the likeliest first: of each class's lesions a share of `level`
    has a set with that class in it."""

    level: float
    classes: list[str]


class FrequencyAnswer(BaseModel):
    """The melanoma probability in whole lesions: `melanomas` of `of` lesions with such a score, at
    this prevalence. `low` and `high` bound what the bundle's held-out lesions of about this score
    were; null where that is not known. `text` is the sentence."""

    of: int
    melanomas: int
    low: int | None
    high: int | None
    prevalence: float
    text: str


class QualityAnswer(BaseModel):
    """The photograph itself, measured on the square that is scored; /info has the limits.

    sharpness and coarse_contrast are decibels, brightness is 0 to 255, chroma is
    CIELAB's, the rest are shares.
    `reasons` says why it is not `ok`; `advice`, in sentences, what to do.
    """

    sharpness: float
    brightness: float
    white_share: float
    lesion_share: float
    lesion_offset: float
    coarse_contrast: float
    chroma: float
    ok: bool
    reasons: list[Reason]
    advice: str | None


class NoveltyAnswer(BaseModel):
    """How unlike the training's photographs the picture is: about 0 for one of theirs, give or take
    1. `is_novel` is score >= threshold; the verdict is then unscorable."""

    score: float
    threshold: float
    is_novel: bool


class ModelAnswer(BaseModel):
    """Which weights answered; `digest` is the sha256 of what the bundle's manifest says, written
    with sorted keys and no spaces. /info has manifest_sha256 beside it, as sha256sum gives it.
    `image_type` is what its photographs must be taken with: of others nothing is claimed.
    `backend` ran the networks, torch or openvino, and `precision` is the type of their products."""

    name: str
    version: int
    digest: str
    folds: int
    image_type: ImageType
    backend: str
    precision: str


AnyExplanation: TypeAlias = Annotated[
    ExplanationAnswer,
    AnyOf(lambda: [entry.answer for entry in EXPLAINERS.values()], by="method"),
]


class _Succeeded(BaseModel):
    success: Literal[True] = True


class _Scored(BaseModel):
    melanoma_probability: float | None
    prediction: str
    probability: float
    by_class: dict[str, float]
    by_fold: list[float]
    threshold: ThresholdAnswer | None
    thresholds: list[OperatingPointAnswer]
    flagged: bool | None
    verdict: VerdictAnswer | None
    risk: dict[Risk, float] | None
    other_cancer: OtherCancerAnswer | None
    set: SetAnswer | None
    frequency: FrequencyAnswer | None
    quality: QualityAnswer | None
    novelty: NoveltyAnswer | None
    calibrated: bool
    prevalence: float | None
    warnings: list[str]


class _Request(BaseModel):
    request_id: str
    milliseconds: float
    disclaimer: str


class PredictAnswer(_Scored, _Succeeded):
    """A score. Probabilities are in [0, 1]; by_fold holds one for each member, in their order.

    `prevalence` is the share of melanomas that the probabilities refer to. melanoma_probability,
    threshold and flagged are null where the bundle names no melanoma class, and verdict too unless
    it is unscorable; risk (the sum of the probabilities of each risk) and other_cancer are null
    where its recipe states no risk, set of a bundle from before there were sets. frequency is
    null where there is no melanoma_probability, or the verdict is unscorable; quality where
    the bundle has no limits of it, and novelty where it was sealed without such a score.
    """

    explanation: AnyExplanation | None = None
    model: ModelAnswer
    request_id: str
    milliseconds: float
    disclaimer: str


class PredictionAnswer(_Scored):
    """A score as an answer's part."""

    model: ModelAnswer
    disclaimer: str


class ExplainAnswer(_Request, _Succeeded):
    """An explanation, and the score that it explains."""

    explanation: AnyExplanation
    prediction: PredictionAnswer


class ItemError(BaseModel):
    """Why one photograph of a batch has no score."""

    code: str
    message: str


class _Indexed(BaseModel):
    index: int


class ItemAnswer(PredictionAnswer, _Succeeded, _Indexed):
    """One photograph's score; `index` counts the files from 0."""


class ItemRefusal(_Indexed):
    """One photograph without a score."""

    success: Literal[False] = False
    error: ItemError


class BatchAnswer(_Request, _Succeeded):
    """A result for each photograph, in the order in which they were sent."""

    results: list[ItemAnswer | ItemRefusal]
    model: ModelAnswer


class ErrorDetail(BaseModel):
    """`code` is for programs and stays; `message` is for people and may be reworded."""

    code: str
    message: str
    request_id: str


class ErrorAnswer(BaseModel):
    """Any refusal; `detail` is the error's message once more, as text."""

    success: Literal[False] = False
    error: ErrorDetail
    detail: str
