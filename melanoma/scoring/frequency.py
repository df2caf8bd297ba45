"""A probability in natural frequencies: of 100 such lesions, how many are melanomas."""

from __future__ import annotations

from math import ceil, floor
from typing import Any

import numpy as np

from melanoma.evaluation.prevalence import retarget
from melanoma.scoring.bundle.bundle import Bundle

_ROUND = 1e-9


def natural_frequency(probability: float, prevalence: float, bundle: Bundle) -> dict[str, Any]:
    """`{of, melanomas, low, high, prevalence, text}` of a melanoma probability in (0, 1).

    `of` is 100, or 1,000 where fewer than one of 100 are. `low` and `high` bound what was found
    among the bundle's held-out lesions of about this score, at this prevalence; None where that was
    not measured, or the bundle was recalibrated elsewhere.
    """
    of = 100 if probability >= 0.0095 else 1000
    ends = _ends(probability, prevalence, bundle)
    low, high = (None, None) if ends is None else _whole(ends, of)
    about = round(probability * of)
    found: dict[str, Any] = {"of": of, "melanomas": about, "low": low, "high": high}
    return {**found, "prevalence": prevalence, "text": _text(found, probability, prevalence)}


def _whole(ends: tuple[float, float], of: int) -> tuple[int, int]:
    return floor(ends[0] * of + _ROUND), ceil(ends[1] * of - _ROUND)


def _ends(probability: float, prevalence: float, bundle: Bundle) -> tuple[float, float] | None:
    own = bundle.calibration.prevalence
    if not bundle.near_scores or own is None:
        return None
    (here,) = retarget(np.array([probability]), trained=prevalence, wanted=own)
    near = [line for line in bundle.near_scores if line.start <= here][-1]
    low, high = retarget(np.array([near.low, near.high]), trained=own, wanted=prevalence)
    # A bin is wider than a score: what is said lies within what bounds it.
    return min(float(low), probability), max(float(high), probability)


def _text(found: dict[str, Any], probability: float, prevalence: float) -> str:
    of, about = found["of"], found["melanomas"]
    said = f"about {about} are melanomas"
    if about == 0:
        said = "fewer than 1 is a melanoma"
    elif about == of and probability < 1:
        said = f"more than {of - 1} are melanomas"
    elif about == 1:
        said = "about 1 is a melanoma"
    bound = "" if found["low"] is None else f" ({found['low']} to {found['high']})"
    return f"Of {of:,} lesions with such a score {said}{bound}, where {share_of(prevalence)} are."


def share_of(prevalence: float) -> str:
    """`11 in 100`, `18 in 1,000`, `fewer than 1 in 1,000`."""
    of = 100 if prevalence >= 0.095 else 1000
    count = round(prevalence * of)
    return f"{count} in {of:,}" if count else f"fewer than 1 in {of:,}"
