"""What the routes about the service and its bundles answer, as the OpenAPI page tells it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from api.responses import MeasuredAnswer, ModelAnswer, ThresholdAnswer
from melanoma.recipe.sections import ImageType


class CalibrationAnswer(BaseModel):
    """The share of melanomas among the images that the probabilities were calibrated on."""

    prevalence: float | None


class CostAnswer(BaseModel):
    """What a precision of LIME costs: `seconds` as the last explanation took on this service, or in
    proportion to another precision's, or as one evaluation took at the start."""

    evaluations: int
    seconds: float | None


class ExplainChoice(BaseModel):
    """A way to explain: its title, and which of the fields precision and seed it reads."""

    method: str
    title: str
    options: list[str]


class ExplainInfo(BaseModel):
    """The ways to explain, and LIME's precisions; those that do not fit are left out."""

    methods: list[str]
    choices: list[ExplainChoice]
    precisions: dict[str, CostAnswer]


class SamplesAnswer(BaseModel):
    """A precision of LIME: evaluations of the model, and the time that they should take."""

    samples: int
    expected_seconds: float | None


class ExplanationsAnswer(BaseModel):
    """The precisions of LIME that end within the deadline here; others are refused with 422."""

    precision: dict[str, SamplesAnswer]
    deadline_seconds: float


class ExternalAnswer(BaseModel):
    """What a bundle reached on another set: `sensitivity` and `specificity` at its own threshold.

    `source` says what the images are, `warnings` what that report warns of. Where `without` names
    a set of the training, the result is of the same training without that set.
    """

    name: str
    source: str
    date: str
    images: int
    positives: int | None
    patients: int | None
    auroc: MeasuredAnswer
    at: str | None
    threshold: float | None
    sensitivity: MeasuredAnswer
    specificity: MeasuredAnswer
    members_sensitivity: float | None
    members_specificity: float | None
    without: str | None
    warnings: list[str]


class QualityLimitsAnswer(BaseModel):
    """What a photograph must reach to be scored: lesion_offset and white_share at most, the others
    at least. They stop the share `stopped` of the training images; where `held_out`, each
    image is judged by limits that were learned without its own fold."""

    sharpness: float
    brightness: float
    white_share: float
    lesion_share: float
    lesion_offset: float
    coarse_contrast: float
    chroma: float | None
    stopped: float
    held_out: bool


class RoundingAnswer(BaseModel):
    """What scoring in bfloat16 changes, by this backend, on held-out images: see the report.
    `holds` where no probability moves by more than 0.02 and the AUROC by less than 0.001."""

    backend: str
    images: int
    auroc: float | None
    auroc_change: float | None
    largest_change: float
    member_change: float | None
    images_above: int
    flags_turned: int
    holds: bool


class NoveltyInfo(BaseModel):
    """The score from which a picture is novel, and its verdict unscorable."""

    threshold: float


class BundleAnswer(BaseModel):
    """One served bundle. `digest` names it in every answer: the sha256 of what its manifest says
    (JSON of sorted keys without spaces); `manifest_sha256` is what sha256sum manifest.json prints.
    `auroc` is the pooled out-of-fold one of its report, of melanoma against
    the rest, or the classes' mean where the bundle names no melanoma class. `image_type` is what
    its photographs must be taken with. `license` is the text
    that came with the weights, if one did. `backend` runs its networks, in products of
    `precision`. `decoder` is the version of the decoder that made the
    pixels it was trained on, null where that was another program. `phantoms` says that it was
    trained on drawings: it scores an upload only where ?model= names it. `external` is what it
    reached on sets that it was not trained on, as far as that was measured. `quality` is null of a
    bundle that does not judge photographs, `novelty` of one that was sealed without such a score:
    then no picture is called novel. `bfloat16` is null where its rounding was not measured."""

    name: str
    version: int
    digest: str
    manifest_sha256: str
    folds: int
    backend: str
    precision: str
    backbone: str
    classes: list[str]
    melanoma: list[str]
    image_size: int
    fit: str
    views: int
    threshold: ThresholdAnswer | None
    calibration: CalibrationAnswer
    auroc: MeasuredAnswer
    warnings: list[str]
    license: str | None
    quality: QualityLimitsAnswer | None
    image_type: ImageType
    bfloat16: RoundingAnswer | None
    novelty: NoveltyInfo | None
    decoder: int | None
    phantoms: bool
    external: list[ExternalAnswer]
    explain: ExplainInfo
    explanations: ExplanationsAnswer


class LimitsAnswer(BaseModel):
    """What an acceptable photograph is."""

    formats: list[str]
    bytes: int
    pixels: int
    shortest_side: int
    longest_side: int
    aspect: float


class MetricAnswer(BaseModel):
    """How a metric of a report is shown. `title` is by language, a share is written in percent,
    `card` is the rank among a report's key numbers, null where it is none of them."""

    title: dict[str, str]
    short: str
    explanation: str
    unit: Literal["share", "number"]
    better: Literal["higher", "lower"]
    card: int | None


class InfoAnswer(BaseModel):
    """The served bundles, the first one being the default, and the metrics of their reports.

    `decoder` is the version of the decoder that reads here; one that a bundle was not trained with
    reads a few photographs otherwise.
    """

    success: Literal[True] = True
    models: list[BundleAnswer]
    metrics: dict[str, MetricAnswer]
    limits: LimitsAnswer
    decoder: int
    disclaimer: str


class ClassAnswer(BaseModel):
    """A class, and whether it counts towards the melanoma probability."""

    name: str
    melanoma: bool


class ClassesAnswer(BaseModel):
    """A bundle's classes, in the recipe's order, which by_class keeps."""

    success: Literal[True] = True
    model: ModelAnswer
    classes: list[ClassAnswer]


class ChartsAnswer(BaseModel):
    """A report's charts by name, each an <svg> of classes that /static/charts.css colors."""

    success: Literal[True] = True
    model: ModelAnswer
    charts: dict[str, str] = Field(examples=[{"roc": '<svg class="chart" ...>...</svg>'}])


class HealthAnswer(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class ReadyAnswer(BaseModel):
    """Whether traffic may come: not before every bundle has given its golden score, nor after the
    service was told to end. `bundles` says what each one's golden image gave."""

    ready: bool
    state: Literal["starting", "ready", "failed", "leaving"]
    bundles: dict[str, str]
