"""The parts of report.json about patients with several lesions, and lesions with several images."""

from __future__ import annotations

from melanoma.evaluation.report.schema_parts import Count, Measured, Part


class LesionFigures(Part):
    """Images of one lesion (`lesion_id`) together: the mean of their probabilities.

    `spread` is the highest less the lowest probability of a lesion's images, its median and 95th
    percentile over lesions with several. Null where no lesion is known to have several.
    """

    lesions: Count
    with_several: Count
    images_of_several: Count
    auroc: Measured  # of lesions, by the mean of their images
    auroc_of_images: Measured
    spread_median: float
    spread_95: float


class ContextGain(Part):
    """What the other lesions add, on patients that the coefficients were not fitted on.

    Lesions of patients with three or more; the same resamples of patients for both scores.
    """

    patients: Count
    lesions: Count
    melanomas: Count
    auroc_plain: Measured
    auroc_context: Measured
    auroc_difference: Measured
    concordance_plain: Measured
    concordance_context: Measured
    concordance_difference: Measured


class ContextStack(Part):
    """A logistic stack: log-odds = intercept + slope * own log-odds + trust * coefficients.

    The coefficients are those of melanoma.scoring.patient's features, with the 95 % interval of
    a bootstrap over patients. `trust` is the number of other lesions over it plus `half_trusted`.
    """

    origin: str  # the data that it was fitted on
    patients: Count
    lesions: Count
    melanomas: Count
    intercept: Measured
    slope: Measured
    coefficients: dict[str, Measured]
    half_trusted: float
    gain: ContextGain  # cross-fitted


class PatientContext(Part):
    """Whether a patient's other lesions help, and the stack that is sealed if they do.

    `status` says why there is one or none. `gain` is measured wherever a stack could be fitted, or
    where a sealed one met a labeled set. No stack, no performance is claimed of ranks and marks.
    """

    status: str
    gain: ContextGain | None = None
    stack: ContextStack | None = None
