"""What share of the held-out lesions of about a score were melanomas: a local calibration."""

from __future__ import annotations

import numpy as np

from melanoma.evaluation.metrics.probability_scores import equal_count_bins
from melanoma.evaluation.report.schema_points import NearScores
from melanoma.evaluation.scored_images import ScoredImages
from melanoma.types import Flags

_MOST = 20
_FEWEST = 50  # groups of a bin: below, its interval says nothing
_Z = 1.959964  # of a 95 % interval


def measure_near_scores(images: ScoredImages) -> tuple[NearScores, ...]:
    """Bins of about equal counts by the cross-fitted melanoma probability, the lowest first.

    Lesions (or patients) count, not images: each image of one within a bin weighs one over how many
    there are. Wilson's interval of their share. Empty where the recipe names no melanoma.
    """
    if not images.melanoma:
        return ()
    score = images.crossfit_probability
    count = min(_MOST, max(1, len(np.unique(images.groups)) // _FEWEST))
    bins = equal_count_bins(score, count)
    return tuple(
        _describe(
            images, bins == number, 0.0 if number == 0 else float(score[bins == number].min())
        )
        for number in range(int(bins.max()) + 1)
    )


def _describe(images: ScoredImages, own: Flags, start: float) -> NearScores:
    _, numbers, times = np.unique(images.groups[own], return_inverse=True, return_counts=True)
    groups = len(times)
    # The parts of a whole group may add up to a hair more than one.
    share = min(1.0, float((images.positive[own] / times[numbers]).sum() / groups))
    low, high = _wilson(share, groups)
    return NearScores(start=start, groups=groups, share=share, low=low, high=high)


def _wilson(share: float, count: int) -> tuple[float, float]:
    """Wilson's interval of a share of `count` (1927); a share of weighed lesions need not be of
    whole ones."""
    square = _Z**2 / count
    middle = (share + square / 2) / (1 + square)
    half = _Z * np.sqrt(share * (1 - share) / count + square / count / 4) / (1 + square)
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))
