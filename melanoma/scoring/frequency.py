"""A probability in natural frequencies: of 100 such lesions, how many are melanomas."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor

import numpy as np

from melanoma.evaluation.prevalence import retarget
from melanoma.scoring.bundle.bundle import Bundle

_ROUND = 1e-9


@dataclass(frozen=True)
class Frequency:
    """Of `of` lesions with such a score `melanomas` are, at this prevalence; `text` says so.

    `of` is 100, or 1,000 where fewer than one of 100 are. `low` and `high` bound what was found
    among the bundle's held-out lesions of about this score, at this prevalence; None where that was
    not measured, or the bundle was recalibrated elsewhere.
    """

    of: int
    melanomas: int
    low: int | None
    high: int | None
    prevalence: float
    text: str


def natural_frequency(probability: float, prevalence: float, bundle: Bundle) -> Frequency:
    """The Frequency of a melanoma probability in (0, 1)."""
    of = 100 if probability >= 0.0095 else 1000
    ends = _ends(probability, prevalence, bundle)
    low, high = (None, None) if ends is None else _whole(ends, of)
    about = round(probability * of)
    bound = "" if low is None else f" ({low} to {high})"
    text = (
        f"Of {of:,} lesions with such a score {_counted(about, of, probability)}{bound}, where "
        f"{share_of(prevalence)} are."
    )
    return Frequency(of, about, low, high, prevalence, text)


def _whole(ends: tuple[float, float], of: int) -> tuple[int, int]:
    return floor(ends[0] * of + _ROUND), ceil(ends[1] * of - _ROUND)


def _ends(probability: float, prevalence: float, bundle: Bundle) -> tuple[float, float] | None:
    own = bundle.prevalence
    if not bundle.near_scores or own is None:
        return None
    (here,) = retarget(np.array([probability]), trained=prevalence, wanted=own)
    near = [line for line in bundle.near_scores if line.start <= here][-1]
    low, high = retarget(np.array([near.low, near.high]), trained=own, wanted=prevalence)
    # A bin is wider than a score: what is said lies within what bounds it.
    return min(float(low), probability), max(float(high), probability)


def _counted(about: int, of: int, probability: float) -> str:
    if about == 0:
        return "fewer than 1 is a melanoma"
    if about == of and probability < 1:
        return f"more than {of - 1} are melanomas"
    return "about 1 is a melanoma" if about == 1 else f"about {about} are melanomas"


def share_of(prevalence: float) -> str:
    """`11 in 100`, `18 in 1,000`, `fewer than 1 in 1,000`."""
    of = 100 if prevalence >= 0.095 else 1000
    count = round(prevalence * of)
    return f"{count} in {of:,}" if count else f"fewer than 1 in {of:,}"
