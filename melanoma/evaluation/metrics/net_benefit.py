"""Decision curve: is it worth acting on the probabilities? (Vickers & Elkin 2006.)

Whoever treats from a probability of t upwards holds one treated melanoma to be worth (1 - t) / t
needless treatments. Net benefit counts in that currency: true positives less false positives times
t / (1 - t), a share of all images. Treat-none has 0 everywhere.
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit, logit

from melanoma.evaluation.metrics.bootstrap import SumStatistic, bootstrap_intervals
from melanoma.evaluation.metrics.weighted_sums import mean
from melanoma.evaluation.report.schema_parts import NetBenefit
from melanoma.types import Floats, Integers

_POINTS = 41
LOW = (0.01, 0.02)


def net_benefit_at(threshold: float, target: Integers, probability: Floats) -> SumStatistic:
    """Net benefit of treating where probability >= threshold, which lies in (0, 1)."""
    worth = np.where(target == 1, 1.0, -threshold / (1 - threshold))
    return mean(np.where(probability >= threshold, worth, 0.0))


def treat_all(threshold: float, *, prevalence: float) -> float:
    """Net benefit of treating everyone: 0 at the prevalence, below 0 above it."""
    return prevalence - (1 - prevalence) * threshold / (1 - threshold)


def threshold_grid(prevalence: float, *, points: int = _POINTS) -> Floats:
    """Threshold probabilities that matter where melanoma is that common, even in log-odds.

    From a quarter of the prevalence (at most 0.05) to twenty times its odds (at most 0.95): 0.005
    to 0.3 at 2 %, 0.05 to 0.95 at one half. A person who acts at ten times less than the prevalence
    treats everyone whatever a model says.
    """
    share = min(max(prevalence, 1e-4), 1 - 1e-4)
    lowest = min(0.05, share / 4)
    odds = 20 * share / (1 - share)
    highest = min(0.95, odds / (1 + odds))
    grid: Floats = expit(np.linspace(float(logit(lowest)), float(logit(highest)), points))
    return grid


def decision_curve(
    target: Integers,
    probability: Floats,
    groups: Integers,
    *,
    resamples: int,
    rng: np.random.Generator,
    thresholds: Floats | None = None,
) -> NetBenefit:
    """Model, with its pointwise interval, and treat-all, over `thresholds`; without them over
    threshold_grid and LOW, where clinics act, below it.

    The probabilities must refer to the prevalence of these images, and be cross-fitted.
    """
    prevalence = float((target == 1).mean())
    if thresholds is None:
        grid = threshold_grid(prevalence)
        grid = np.concatenate([[t for t in LOW if t < grid[0]], grid])
    else:
        grid = thresholds
    points = [float(threshold) for threshold in grid]
    statistics = {str(t): net_benefit_at(t, target, probability) for t in points}
    intervals = bootstrap_intervals(statistics, groups, resamples=resamples, rng=rng)
    model = [intervals[str(t)] for t in points]
    return NetBenefit(
        thresholds=tuple(points),
        model=tuple(interval.value for interval in model),
        model_low=tuple(interval.low for interval in model),
        model_high=tuple(interval.high for interval in model),
        treat_all=tuple(treat_all(t, prevalence=prevalence) for t in points),
    )
