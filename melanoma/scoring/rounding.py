"""What a faster precision changes: the same images scored twice, and how far apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from melanoma.types import Flags, Floats

# An answer may move so far and no farther.
MOST_PROBABILITY, MOST_AUROC = 0.02, 0.001


@dataclass(frozen=True)
class RoundingChange:
    """Over `images`: the pooled AUROC of melanoma before, its change, the largest change of any
    class's probability, how many images have one above MOST_PROBABILITY, and how many flags
    turned."""

    images: int
    auroc: float
    auroc_change: float
    largest_change: float
    images_above: int
    flags_turned: int

    @property
    def holds(self) -> bool:
        """Whether both changes are within what is promised."""
        return self.largest_change <= MOST_PROBABILITY and abs(self.auroc_change) < MOST_AUROC


def measure_rounding(
    exact: Floats, rounded: Floats, positive: Flags, *, melanoma: list[int], threshold: float
) -> RoundingChange:
    """Of (N, C) probabilities before and after; `positive` (N,) are the melanomas, `melanoma` the
    columns whose sum is their probability.

    Raises ValueError where there is no melanoma, or nothing else.
    """
    if positive.all() or not positive.any():
        raise ValueError("an AUROC needs melanomas and others")
    before, after = (each[:, melanoma].sum(axis=1) for each in (exact, rounded))
    moved = np.abs(rounded - exact).max(axis=1)
    first, second = _auroc(before, positive), _auroc(after, positive)
    return RoundingChange(
        images=len(exact),
        auroc=first,
        auroc_change=second - first,
        largest_change=float(moved.max()),
        images_above=int((moved > MOST_PROBABILITY).sum()),
        flags_turned=int(((before >= threshold) != (after >= threshold)).sum()),
    )


def _auroc(scores: Floats, positive: Flags) -> float:
    """Share of pairs of a melanoma and another in which it scores higher, ties a half."""
    others = np.sort(scores[~positive])
    below = np.searchsorted(others, scores[positive], side="left")
    upto = np.searchsorted(others, scores[positive], side="right")
    return float((below + upto).mean() / (2 * len(others)))
