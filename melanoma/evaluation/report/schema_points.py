"""The parts of report.json that describe thresholds: each one's line, and the curve of all."""

from __future__ import annotations

from pydantic import model_validator

from melanoma.evaluation.report.schema_parts import Count, Measured, Part, Share
from melanoma.recipe.sections import Risk


class OperatingPoint(Part):
    """Flagged when melanoma_probability >= value. Chosen on out-of-fold scores only."""

    at: str
    value: float
    sensitivity: Measured
    specificity: Measured
    ppv: Measured
    npv: Measured
    accuracy: Measured
    balanced_accuracy: Measured
    true_positives: Count
    false_positives: Count
    false_negatives: Count
    true_negatives: Count
    flagged: Count
    # By the thresholds that the other folds choose; null where there are no others.
    crossfit_sensitivity: Measured | None = None
    crossfit_specificity: Measured | None = None

    @property
    def images(self) -> int:
        """All images, flagged or not."""
        return self.flagged + self.false_negatives + self.true_negatives

    @model_validator(mode="after")
    def _flagged_are_true_or_false(self) -> OperatingPoint:
        if self.true_positives + self.false_positives != self.flagged:
            raise ValueError("true and false positives do not add up to the flagged images")
        return self


class OperatingCurve(Part):
    """What each threshold reaches, ascending: an image is flagged at or above it.

    At most a few hundred thresholds, so that what any other reaches is known to a percentage point.
    """

    thresholds: tuple[Share, ...]
    sensitivity: tuple[Share, ...]
    specificity: tuple[Share, ...]

    @model_validator(mode="after")
    def _every_threshold_has_both(self) -> OperatingCurve:
        if not len(self.thresholds) == len(self.sensitivity) == len(self.specificity):
            raise ValueError("every threshold needs a sensitivity and a specificity")
        if list(self.thresholds) != sorted(self.thresholds):
            raise ValueError("thresholds must ascend")
        return self


class CaughtClass(Part):
    """A class: how many of its images are flagged for melanoma, and how many of the rest are told
    of as another cancer."""

    name: str
    risk: Risk
    images: Count
    flagged: Count
    other_cancer_likely: Count


class AnyMalignancy(Part):
    """Any cancer or precursor of one: flagged for melanoma, or the probability of `classes` if it
    is no melanoma is `value` or more. The `alone` ones are by melanoma's threshold alone."""

    risk: dict[str, Risk]
    classes: tuple[str, ...]  # malignant and premalignant, no melanoma
    value: float
    at: str
    positives: Count
    auroc: Measured  # of the sum over all malignant and premalignant classes
    sensitivity: Measured
    specificity: Measured
    sensitivity_alone: Measured
    specificity_alone: Measured
    by_class: tuple[CaughtClass, ...]


class SetClass(Part):
    """How often the sets hold the true class, over images and over groups (lesions, patients).

    `unsure` counts images whose verdict would be that: nothing graver told, and a set that holds
    both a cancer or precursor and a harmless class.
    """

    name: str
    images: Count
    groups: Count
    coverage: Measured
    coverage_by_group: Share | None
    mean_size: float | None
    unsure: Count


class PredictionSets(Part):
    """Conformal sets of classes: each class's own threshold, so that `level` of its lesions have a
    set that holds it. Of held-out images the sets are cross-fitted by fold.

    `thresholds` and `priors` are in the order of the bundle's classes; the thresholds refer to the
    priors. `coverage_of_members` is what single members' sets reach, where `overall` is the
    ensemble's.
    """

    level: Share
    thresholds: tuple[Share, ...]
    priors: tuple[Share, ...]
    coverage_of_members: Share | None = None
    overall: SetClass
    by_class: tuple[SetClass, ...]


class NearScores(Part):
    """Held-out lesions (or groups) with a melanoma probability from `start` up to the next bin's:
    what share of them were melanomas, with Wilson's 95 % interval."""

    start: Share
    groups: Count
    share: Share
    low: Share
    high: Share


class NoveltyLine(Part):
    """So many images, of which so many are novel. `auroc` tells them from the held-out images."""

    name: str
    images: Count
    novel: Count
    auroc: Share | None = None


class NoveltySummary(Part):
    """The score of how unlike the training's photographs a picture is, novel from `threshold` on:
    that of `share` of the held-out lesions (or other groups), each counted once.

    `by_class` are the held-out images, each scored by the member that never saw it, which was
    fitted without it. `others` are pictures of other things, `elsewhere` photographs of lesions
    from other sources; both by the ensemble, as a service answers.
    """

    threshold: float
    share: Share
    groups: Count
    by_class: tuple[NoveltyLine, ...]
    others: tuple[NoveltyLine, ...] = ()
    elsewhere: tuple[NoveltyLine, ...] = ()
