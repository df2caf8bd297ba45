"""Prediction: the answer to one photograph."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from melanoma.evaluation.disclaimer import DISCLAIMER


@dataclass(frozen=True)
class Prediction:
    """An answer. Probabilities are in [0, 1]; `flagged` is melanoma_probability >= threshold.

    `threshold` is what flags: {value, at, sensitivity, specificity}, each of the two last {value,
    low, high}, or None where it is not known. `thresholds` are all of the bundle's operating
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
    threshold: dict[str, Any] | None
    thresholds: list[dict[str, Any]]
    flagged: bool | None
    verdict: dict[str, Any] | None
    risk: dict[str, float] | None
    other_cancer: dict[str, Any] | None
    set: dict[str, Any] | None
    frequency: dict[str, Any] | None
    quality: dict[str, Any] | None
    novelty: dict[str, Any] | None
    calibrated: bool
    prevalence: float | None
    warnings: list[str]
    model: dict[str, Any]
    disclaimer: str = DISCLAIMER

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)
