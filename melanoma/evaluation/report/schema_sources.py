"""The parts of report.json that tell of other tables in the training (data.sources)."""

from __future__ import annotations

from melanoma.evaluation.report.schema_parts import Count, Measured, Part, Share


class HeldOutSource(Part):
    """What the folds reach on a source of which each held out a part: every image scored by the one
    that never saw it or its patient, by the calibration and at the threshold that were fitted on
    the recipe's own images. What has `own_share` in its name is of probabilities moved to the share
    of melanomas there; `ece_if_exact` is what exact ones would show on so many images, by chance.
    """

    images: Count
    positives: Count
    patients: Count | None
    auroc: Measured
    within_patient_concordance: Measured | None = None
    at: str
    threshold: Share
    sensitivity: Measured
    specificity: Measured
    ece: Measured
    ece_at_own_share: Measured
    ece_if_exact: Share | None = None
    slope_at_own_share: float | None = None
    intercept_at_own_share: float | None = None  # below 0: said too high, in log-odds


class SourceLine(Part):
    """Rows of another table that trained beside the folds' own.

    `classes` are of rows that are of one class for certain; `left_out`, by fold, those that show a
    patient, lesion or photograph of what it holds out, and what it held out of the source itself.
    `held_out` is null where no fold held out any for itself, or nobody scored them.
    """

    name: str
    images: Count
    weight: float  # how often a row is drawn an epoch
    classes: dict[str, Count]
    of_several: Count  # labeled with several classes, of which each row is one
    soft: Count  # with a teacher's melanoma probability
    unlabeled: Count
    left_out: dict[str, Count]
    teacher: str = ""  # what the recipe says of the model whose probabilities they are
    held_out: HeldOutSource | None = None
