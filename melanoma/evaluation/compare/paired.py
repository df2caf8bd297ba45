"""Two runs on the same images: is one better, by more than chance?

Paired: every resample of patients measures both runs, so what makes some patients hard for both
cancels.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import NamedTuple

import numpy as np

from melanoma.evaluation.metrics.bootstrap import (
    Interval,
    Resampled,
    Statistic,
    bootstrap_values,
    is_recentered,
    percentile_interval,
)
from melanoma.types import Floats, Integers


class Comparison(NamedTuple):
    """Both runs, and the first less the second with its interval and two-sided p-value."""

    first: Interval
    second: Interval
    difference: Interval
    p_value: float

    def defined_p_value(self) -> float | None:
        """The p-value as JSON has it: None where it is undefined, not NaN."""
        return self.p_value if isfinite(self.p_value) else None


def compare_runs(
    first: Mapping[str, Statistic],
    second: Mapping[str, Statistic],
    groups: Integers,
    *,
    resamples: int,
    rng: np.random.Generator,
) -> dict[str, Comparison]:
    """A Comparison of each statistic, all of them on the same resamples of the same rows.

    Both mappings have the same names: `{"auroc": auroc(target, score_of_the_run)}`. The interval is
    the 2.5 and 97.5 percentiles of the paired differences. For the p-value see sign_p_value.
    """
    pairs = {
        **{(name, 0): statistic for name, statistic in first.items()},
        **{(name, 1): statistic for name, statistic in second.items()},
    }
    numbered = {str(number): statistic for number, statistic in enumerate(pairs.values())}
    drawn = bootstrap_values(numbered, groups, resamples=resamples, rng=rng)
    resampled = dict(zip(pairs, drawn.values(), strict=True))
    return {
        name: _compared(
            resampled[name, 0], resampled[name, 1], recentered=is_recentered(first[name])
        )
        for name in first
    }


def sign_p_value(differences: Floats) -> float:
    """Two-sided p-value of resampled differences: how often they have the less common sign.

    2 (1 + min(#{d <= 0}, #{d >= 0})) / (1 + R), at most 1; undefined differences left out. It is
    below 0.05 where the percentile interval excludes 0, and never 0.
    """
    defined = differences[np.isfinite(differences)]
    if not len(defined):
        return float("nan")
    rarer = min(int((defined <= 0).sum()), int((defined >= 0).sum()))
    return min(1.0, 2 * (1 + rarer) / (1 + len(defined)))


def _compared(first: Resampled, second: Resampled, *, recentered: bool) -> Comparison:
    differences = Resampled(first.value - second.value, first.values - second.values)
    return Comparison(
        percentile_interval(first, recentered=recentered),
        percentile_interval(second, recentered=recentered),
        percentile_interval(differences),
        sign_p_value(differences.values),
    )
