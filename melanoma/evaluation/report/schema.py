"""report.json, field by field: strict, so that no number is written that nobody described.

`python -m melanoma.evaluate` validates every report against this before it is written; the same in
JSON Schema is docs/report.schema.json. Shares and probabilities are in [0, 1]. A value that is
undefined (a predictive value where nothing was flagged) is null, never NaN.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from melanoma.evaluation.report.schema_parts import (
    CalibrationSummary,
    ClassLine,
    Confusion,
    Count,
    Curves,
    DataSummary,
    Flow,
    FoldLine,
    LeakAudit,
    Measured,
    NetBenefit,
    Part,
    Selection,
    Share,
    Shortcuts,
    SubgroupLine,
)
from melanoma.evaluation.report.schema_patients import LesionFigures, PatientContext
from melanoma.evaluation.report.schema_points import (
    AnyMalignancy,
    NearScores,
    NoveltySummary,
    OperatingCurve,
    OperatingPoint,
    PredictionSets,
)
from melanoma.evaluation.report.schema_quality import PhonePhotographs, PictureQuality
from melanoma.evaluation.report.schema_rounding import Rounding
from melanoma.evaluation.report.schema_sources import SourceLine
from melanoma.recipe.sections import ImageType
from melanoma.storage import write_json


class Retargeted(Part):
    """The same scores for a place where melanoma is as common as `prevalence` (Saerens 2002).

    Sensitivity and specificity are as measured; predictive values follow from them by Bayes.
    """

    prevalence: Share
    thresholds: tuple[OperatingPointElsewhere, ...]


class OperatingPointElsewhere(Part):
    at: str
    value: float  # the same images are flagged, at this re-targeted probability
    sensitivity: float
    specificity: float
    ppv: float | None
    npv: float | None
    flagged_share: float


class Recalibrated(Part):
    """The bundle's probabilities of melanoma, moved by sigmoid(slope * log-odds + intercept) of an
    external set's fit: asked for, never silent. `thresholds` moved with them, sensitivity and
    specificity as measured; an earlier copy does not list them. `before` names the sets of the
    fits that this one was made on top of."""

    external: str
    before: tuple[str, ...] = ()
    slope: float
    intercept: float
    prevalence: Share
    thresholds: tuple[OperatingPointElsewhere, ...] = ()


class Mistake(Part):
    """An image whose loss is among the largest. The name, never the photograph."""

    image_name: str
    label: str
    predicted: str
    probability: float  # of the true class
    melanoma_probability: float | None
    fold: int | None


class External(Part):
    """An external test set: scored by the sealed bundle, nothing refitted on it.

    Or the test part of the training table, which no fold saw: then `test_part` is true, and
    `scored_before` counts other models of the same run folder that it was scored by.
    """

    recipe: str  # of the external data
    model: str
    model_digest: str
    overlap: LeakAudit  # between the training images and these
    recalibration: dict[str, float] | None  # what a fit on these images would be; never applied
    test_part: bool = False
    scored_before: Count = 0
    # Of a recalibrated copy: whether its calibration was fitted on a set of this recipe's name.
    calibrated_here: bool = False
    # At the sealed threshold, the mean of single members: thresholds come from members' scores,
    # an answer is their mean. Null of reports from before, and where no class is melanoma.
    members_sensitivity: float | None = None
    members_specificity: float | None = None


class ExternalResult(Part):
    """What the finished model reached on a set that it was not trained on, sealed beside its own
    figures. Sensitivity and specificity are at the sealed threshold; `warnings` are that report's.
    Of a bundle moved to another prevalence `threshold` is the one from before. `without` names
    sources (data.sources): then the result is of the same training without them."""

    name: str  # of the set's recipe
    source: str  # what its images are; blank where its recipe does not say it
    date: str  # UTC day
    images: Count
    positives: Count | None
    patients: Count | None
    auroc: Measured
    at: str | None
    threshold: float | None
    sensitivity: Measured
    specificity: Measured
    members_sensitivity: float | None = None  # the mean of single members
    members_specificity: float | None = None
    without: str | None = None
    warnings: tuple[str, ...]


class FoldHistory(Part):
    """A fold's epochs, from 1: mean loss in training (null where no step was finite), loss on the
    held-out images, and the highest learning rate at the epoch's end."""

    fold: Count
    epochs: tuple[Count, ...]
    loss: tuple[float | None, ...]
    held_out_loss: tuple[float | None, ...]
    rate: tuple[float, ...]

    @model_validator(mode="after")
    def _every_epoch_has_all(self) -> FoldHistory:
        lengths = {len(self.epochs), len(self.loss), len(self.held_out_loss), len(self.rate)}
        if len(lengths) > 1:
            raise ValueError("every epoch needs its losses and its rate")
        return self


class ReportContent(Part):
    """The whole of report.json."""

    format: Literal[2] = 2
    recipe: str
    version: int
    created: str  # UTC, ISO 8601
    phantoms: bool = False  # the model was trained on drawings, on no photograph
    image_type: ImageType = "any"  # what its photographs must be taken with
    summary: str  # one paragraph of plain language
    classes: tuple[str, ...]
    melanoma: tuple[str, ...]
    folds_expected: Count
    warnings: tuple[str, ...]  # leaks first ("LEAK: ..."), small samples, selection effects
    data: DataSummary
    flow: Flow | None = None  # reports from before it have none
    sources: tuple[SourceLine, ...] = ()  # other tables that trained as well
    leaks: LeakAudit
    metrics: dict[str, Measured]
    cross_checks: dict[str, Measured]  # auroc_delong: DeLong 1988, images taken as independent
    selection: Selection | None
    folds: tuple[FoldLine, ...]
    history: tuple[FoldHistory, ...] = ()  # reports from before it have none
    thresholds: tuple[OperatingPoint, ...]  # the first one flags; empty without melanoma classes
    any_malignancy: AnyMalignancy | None = None  # null where the recipe states no risk
    prediction_sets: PredictionSets | None = None  # reports from before them have none
    near_scores: tuple[NearScores, ...] = ()  # reports from before them have none
    quality: PictureQuality | None = None  # null where the training images were not at hand
    novelty: NoveltySummary | None = None  # where none was fitted
    phones: PhonePhotographs | None = None  # where none were tried
    bfloat16: Rounding | None = None  # null where evaluate was not asked to measure it
    calibration: CalibrationSummary
    curves: Curves | None
    operating_curve: OperatingCurve | None = None  # reports from before it have none
    per_class: tuple[ClassLine, ...]
    confusion: Confusion
    shortcuts: Shortcuts | None
    subgroups: tuple[SubgroupLine, ...]
    net_benefit: NetBenefit | None
    lesions: LesionFigures | None = None  # null where no lesion is known to have several images
    patients: PatientContext | None = None  # null without melanoma classes
    retargeted: Retargeted | None
    recalibrated: Recalibrated | None = None
    largest_errors: tuple[Mistake, ...]
    external: External | None
    external_results: tuple[ExternalResult, ...] = ()  # what the model reached elsewhere
    study: dict[str, str] = Field(default_factory=dict)  # the recipe's; what is absent is blank
    intervals: str
    digests: dict[str, str]
    versions: dict[str, str]
    device: str
    precision: str
    pretrained: Any

    @model_validator(mode="after")
    def _counts_agree(self) -> ReportContent:
        images = self.data.images
        if sum(self.data.classes.values()) != images:
            raise ValueError(f"data.classes do not add up to {images} images")
        if (
            self.flow
            and self.flow.read is not None
            and self.flow.read - self.flow.left_out != images
        ):
            raise ValueError(f"flow: what was read does not end in {images} images")
        if sum(map(sum, self.confusion.counts)) != images:
            raise ValueError(f"confusion does not add up to {images} images")
        if self.folds and sum(fold.images for fold in self.folds) != images:
            raise ValueError(f"folds do not add up to {images} images")
        for point in self.thresholds:
            positives = point.true_positives + point.false_negatives
            if point.images != images or positives != self.data.positives:
                raise ValueError(f"thresholds: {point.at} does not add up to the images of data")
        return self


def validate_report(content: dict[str, Any]) -> ReportContent:
    """The content as a ReportContent. Raises pydantic.ValidationError where it is none."""
    return ReportContent.model_validate(content)


def save_schema(path: Path) -> None:
    """Write docs/report.schema.json: this model as JSON Schema (draft 2020-12)."""
    write_json(path, ReportContent.model_json_schema())
