"""The parts of report.json that describe what was measured: values, tables and curves."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Count = Annotated[int, Field(ge=0)]
_SLACK = 1e-9  # of floats that say the same


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Measured(Part):
    """A value and its 95 % interval; null where it is undefined or has no interval."""

    value: float | None
    low: float | None = None
    high: float | None = None

    @model_validator(mode="after")
    def _ends_are_in_order(self) -> Measured:
        # The value may lie outside: a percentile interval of a biased statistic need not hold it.
        if (self.low is None) != (self.high is None):
            raise ValueError("an interval has both ends or none")
        if self.low is not None and self.high is not None and self.low > self.high + _SLACK:
            raise ValueError(f"the interval ends ({self.high}) before it begins ({self.low})")
        return self


class DataSummary(Part):
    """What was scored. `positives` are the melanomas: images of a class named by `melanoma`."""

    images: Count
    positives: Count | None
    groups: Count
    patients: Count | None  # null where the table names none
    prevalence: Share | None
    classes: dict[str, Count]


class Flow(Part):
    """What became of the images of the table before they were scored (STARD); null where no record
    tells. `unreadable` ones are in no fold, the other three are in the fold file without a score.
    """

    read: Count | None = None
    unreadable: Count | None = None
    never_held_out: Count | None = None  # by a split of one's own
    in_test_part: Count | None = None
    untrained: Count | None = None  # of folds that were not trained
    trained_on: Count | None = None  # by evaluate --external --unseen

    @property
    def left_out(self) -> int:
        """All that is known to be left out."""
        parts = (self.unreadable, self.never_held_out, self.in_test_part, self.untrained)
        return sum(count or 0 for count in (*parts, self.trained_on))


class StartingWeights(Part):
    """What is known of the weights that the folds started from."""

    held_out_seen: Count  # images, over all folds, that the fold's weights had been trained on
    unknown: bool  # whether they may have seen images of which there is no record


class LeakAudit(Part):
    """What stands on both sides of a split; null where it was not looked for, or nobody knows.

    Sides are folds, or the training images and an external set.
    """

    patients: Count | None
    lesions: Count | None
    groups: Count
    identical: Count | None
    near_duplicates: Count | None
    findings: tuple[str, ...]  # one sentence a kind of leak, with examples
    allowed: bool = False  # trained all the same, by --allow-leak
    starting_weights: StartingWeights | None = None


class FoldLine(Part):
    """One fold; `auroc` and `pr_auc` are melanoma against the rest, or macro means without one."""

    fold: Count
    images: Count
    positives: Count | None
    auroc: float | None
    pr_auc: float | None
    best_epoch: Count
    last_epoch: Count
    seconds: float


class SelectedEpoch(Part):
    auroc: Measured


class Selection(Part):
    """Best and last epoch side by side; `kept` is the one whose weights are in the bundle."""

    kept: Literal["best", "last"]
    best: SelectedEpoch
    last: SelectedEpoch


class ReliabilityBin(Part):
    """Images of like predicted probability: mean prediction, observed share, 95 % interval."""

    predicted: Share
    observed: Share
    low: Share
    high: Share
    images: Count

    @model_validator(mode="after")
    def _interval_holds_the_share(self) -> ReliabilityBin:
        if not self.low - _SLACK <= self.observed <= self.high + _SLACK:
            raise ValueError(f"{self.observed} is not between {self.low} and {self.high}")
        return self


class CalibrationState(Part):
    """How well probabilities are calibrated, and the bins that show it."""

    brier: Measured
    log_loss: Measured
    ece: Measured
    ece_if_exact: Share | None = None  # what exact probabilities show on so many images, by chance
    slope: float | None = None  # of observed on predicted log-odds: 1 is right, below 1 too extreme
    intercept: float | None = None  # calibration in the large: 0 is right, below 0 too high
    bins: tuple[ReliabilityBin, ...]


class CalibrationSummary(Part):
    """logits -> probabilities, and what that did.

    Binary: p = sigmoid(slope * (logit - prior_shift) + intercept). Multi-class: p = softmax(slope *
    (logits - prior_shift) + intercept), intercept one number a class. `before` is without scaling
    (and without taking out the prior shift: what the network itself says); `after` is
    cross-fitted. Both of the melanoma probability where there is one, else of the top class.
    """

    method: Literal["scale", "temperature", "identity"]
    slope: float
    intercept: float | tuple[float, ...]
    prevalence: Share | None  # the share of melanomas that the probabilities refer to
    class_prevalence: dict[str, Share]
    prior_shift: dict[str, float | tuple[float, ...]]
    before: CalibrationState
    after: CalibrationState

    @property
    def helps(self) -> bool:
        """Whether, out of fold, it made the log loss smaller than the network's own."""
        before, after = self.before.log_loss.value, self.after.log_loss.value
        return before is not None and after is not None and after < before


class Curve(Part):
    """Points of a curve, at most a few hundred, ends included."""

    x: tuple[float, ...]
    y: tuple[float, ...]

    @model_validator(mode="after")
    def _every_point_has_both(self) -> Curve:
        if len(self.x) != len(self.y):
            raise ValueError(f"{len(self.x)} x for {len(self.y)} y")
        return self


class Curves(Part):
    """roc: x 1 - specificity, y sensitivity. pr: x sensitivity, y precision."""

    roc: Curve
    pr: Curve


class ClassLine(Part):
    """One class against the rest; precision, recall and F1 by `confusion`'s rule."""

    name: str
    melanoma: bool
    images: Count
    auroc: Measured
    pr_auc: Measured
    precision: Measured
    recall: Measured
    f1: Measured


class Confusion(Part):
    """counts[i][j]: images of class i that were called class j."""

    classes: tuple[str, ...]
    rule: str  # "likeliest class", or "melanoma_probability >= 0.042 (sensitivity 0.95)"
    counts: tuple[tuple[Count, ...], ...]

    @model_validator(mode="after")
    def _is_square(self) -> Confusion:
        if {len(self.counts), *map(len, self.counts)} != {len(self.classes)}:
            raise ValueError("counts needs a row and a column for each class")
        return self


class ShortcutLine(Part):
    """What no photograph is needed for, by boosting on the same folds."""

    name: str
    inputs: tuple[str, ...]
    absent: tuple[str, ...]  # inputs that the fold file does not hold
    auroc: Measured


class Shortcuts(Part):
    """`model` is the model's AUROC on the same images."""

    model: Measured
    lines: tuple[ShortcutLine, ...]
    left_out: tuple[str, ...] = ()  # one sentence a baseline that could not be had


class SubgroupLine(Part):
    """One value of one column. Metrics are null and `note` says why where it is too small.

    Calibration by cross-fitted probabilities; `calibration_gap` is observed less mean_predicted.
    """

    column: str
    value: str
    images: Count
    positives: Count
    auroc: Measured
    sensitivity: Measured  # at the bundle's threshold
    specificity: Measured
    mean_predicted: float | None
    observed: float | None
    calibration_gap: Measured = Measured(value=None)
    note: str = ""


class NetBenefit(Part):
    """Decision curve (Vickers & Elkin 2006): true positives less false ones at the odds of the
    threshold probability, a share of all images. Treat-none is 0 everywhere."""

    thresholds: tuple[float, ...]
    model: tuple[float, ...]
    model_low: tuple[float, ...]
    model_high: tuple[float, ...]
    treat_all: tuple[float, ...]

    @model_validator(mode="after")
    def _curves_are_of_one_length(self) -> NetBenefit:
        curves = (self.model, self.model_low, self.model_high, self.treat_all)
        if any(len(curve) != len(self.thresholds) for curve in curves):
            raise ValueError("every curve needs a value for each threshold")
        return self
