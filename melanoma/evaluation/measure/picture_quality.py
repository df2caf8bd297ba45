"""Limits of a photograph's quality, learned from training images: what nearly all of them reach.

A picture beyond a limit is one unlike those that the report's numbers were measured on: a blurred
melanoma scores like a harmless spot. Each limit is a quantile of its measure, so that it stops a
known small share of good photographs; together they may stop at most 2 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from melanoma.data.square_quality import MEASURES, SquareMeasures
from melanoma.evaluation.report.schema_quality import PictureQuality, QualityLimits, StoppedClass
from melanoma.types import Flags, Floats

FEWEST = 200  # images; a quantile of fewer is one image's whim
_REFLECTIONS = 0.01  # of the pixels may be burnt out whatever the training images say


@dataclass(frozen=True)
class Limit:
    """One measure's limit: `share` of the training images lie beyond it, below or above.

    `reason` is the code of an answer that it stops.
    """

    measure: str
    side: Literal["least", "most"]
    share: float
    reason: str


LIMITS = (
    Limit("sharpness", "least", 0.003, "not_sharp"),
    Limit("brightness", "least", 0.002, "too_dark"),
    Limit("white_share", "most", 0.001, "too_bright"),
    Limit("chroma", "least", 0.001, "no_color"),
    Limit("lesion_share", "least", 0.004, "lesion_too_small"),
    Limit("coarse_contrast", "least", 0.003, "lesion_too_small"),
    Limit("lesion_offset", "most", 0.004, "lesion_off_center"),
)


def fit_quality(measures: Floats, labels: Sequence[str]) -> PictureQuality | None:
    """The limits of (N, len(MEASURES)) training images, and what they stop of each label.

    None of fewer than FEWEST images: nothing can be learned from them.
    """
    if len(measures) < FEWEST:
        return None
    bounds = {
        limit.measure: float(
            np.quantile(
                measures[:, MEASURES.index(limit.measure)],
                limit.share if limit.side == "least" else 1 - limit.share,
            )
        )
        for limit in LIMITS
    }
    bounds["white_share"] = max(bounds["white_share"], _REFLECTIONS)
    limits = QualityLimits(**bounds)
    beyond = beyond_limits(measures, limits)
    stopped = np.any(list(beyond.values()), axis=0)
    names = np.asarray(labels)
    return PictureQuality(
        limits=limits,
        images=len(measures),
        stopped=float(stopped.mean()),
        by_class=tuple(
            StoppedClass(
                name=str(name),
                images=int((names == name).sum()),
                stopped=int(stopped[names == name].sum()),
            )
            for name in dict.fromkeys(sorted(labels))
        ),
        reasons={reason: int(hit.sum()) for reason, hit in beyond.items()},
    )


def beyond_limits(measures: Floats, limits: QualityLimits) -> dict[str, Flags]:
    """Of each reason, in the order of LIMITS, which of (N, len(MEASURES)) images it holds for."""
    beyond: dict[str, Flags] = {}
    for limit in LIMITS:
        values = measures[:, MEASURES.index(limit.measure)]
        bound = getattr(limits, limit.measure)
        if bound is None:
            continue
        hit = values < bound if limit.side == "least" else values > bound
        beyond[limit.reason] = beyond.get(limit.reason, np.zeros(len(values), bool)) | hit
    return beyond


def find_reasons(measures: SquareMeasures, limits: QualityLimits) -> tuple[str, ...]:
    """The codes of what stops one square; empty where it is good enough."""
    beyond = beyond_limits(np.array([measures.as_row()]), limits)
    return tuple(reason for reason, hit in beyond.items() if hit[0])
