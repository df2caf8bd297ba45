"""Prediction: the answer to one photograph."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from melanoma.evaluation.disclaimer import DISCLAIMER
from melanoma.evaluation.measure.other_cancer import OtherCancer
from melanoma.recipe.sections import ImageType
from melanoma.scoring.bundle.operating import JudgedPoint, ServedPoint
from melanoma.scoring.frequency import Frequency
from melanoma.scoring.novelty import PictureNovelty
from melanoma.scoring.possible import PossibleClasses
from melanoma.scoring.quality import Quality
from melanoma.scoring.verdict import Verdict


@dataclass(frozen=True)
class ModelInfo:
    """What answered: the bundle's name, version and digest, its folds, what its photographs are
    taken with, and what runs its networks with products of which type."""

    name: str
    version: int
    digest: str
    folds: int
    image_type: ImageType
    backend: str
    precision: str


@dataclass(frozen=True)
class OtherCancerShare(OtherCancer):
    """The rule, and the probability of its classes if it is no melanoma."""

    probability_if_no_melanoma: float


@dataclass(frozen=True)
class Prediction:
    """An answer. Probabilities are in [0, 1]; `flagged` is melanoma_probability >= threshold.

    `threshold` is what flags. `thresholds` are all of the bundle's operating
    points, the one that flags first unless another was asked for. Where the
    bundle names no melanoma class, melanoma_probability, threshold and flagged are None, and
    `by_fold` holds the members' probabilities of the predicted class, and there is no verdict but
    "unscorable".
    `risk` is the sum of the probabilities of each risk; `other_cancer` the probability of the other
    malignant and premalignant classes if it is no melanoma, and the value from which the verdict
    tells of them; both None where the recipe states no risk. `set` is {level, classes}: what it may
    be, the likeliest first, so that of each class's lesions a share of `level` has a set with that
    class; None of a bundle from before there were sets. `frequency` says the melanoma probability
    in whole lesions of 100 or 1,000, `low` and `high` as the held-out lesions of about this score
    bound it; None where it is unscorable. `quality` is what melanoma.scoring.quality says of the
    photograph, None where the bundle has no limits of it. `novelty` is {score, threshold,
    is_novel}: a picture that is like none of the training's is unscorable; None of a bundle
    without such a score. `prevalence` is the share of melanomas that the probabilities refer to.
    """

    melanoma_probability: float | None
    prediction: str
    probability: float
    by_class: dict[str, float]
    by_fold: list[float]
    threshold: ServedPoint | None
    thresholds: list[JudgedPoint]
    flagged: bool | None
    verdict: Verdict | None
    risk: dict[str, float] | None
    other_cancer: OtherCancerShare | None
    set: PossibleClasses | None
    frequency: Frequency | None
    quality: Quality | None
    novelty: PictureNovelty | None
    calibrated: bool
    prevalence: float | None
    warnings: list[str]
    model: ModelInfo
    disclaimer: str = DISCLAIMER

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        quality = self.quality.as_dict() if self.quality else None
        return {**asdict(self), "quality": quality}
