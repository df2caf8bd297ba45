"""The local calibration against counting: lesions, not images; bounds by Wilson's formula."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from melanoma.evaluation.measure.near_scores import measure_near_scores
from melanoma.evaluation.scored_images import ScoredImages


def _images(score: np.ndarray, target: np.ndarray, groups: np.ndarray) -> ScoredImages:
    table = pd.DataFrame({"target": target, "group": [f"g{g}" for g in groups]})
    pair = np.stack([1 - score, score], axis=1)
    return ScoredImages(table, ("benign", "melanoma"), ("melanoma",), pair, pair, (0.8, 0.2))


def test_bins_hold_their_lesions_share_with_wilsons_interval() -> None:
    rng = np.random.default_rng(2)
    score = rng.uniform(size=400)
    target = (rng.uniform(size=400) < score).astype(np.int64)
    bins = measure_near_scores(_images(score, target, np.arange(400)))
    assert len(bins) == 8  # fifty lesions each
    assert bins[0].start == 0
    assert sum(line.groups for line in bins) == 400
    for line, end in zip(bins, [*(b.start for b in bins[1:]), 2.0], strict=True):
        own = (score >= line.start) & (score < end)
        assert line.share == pytest.approx(target[own].mean())
        wilson = binomtest(int(target[own].sum()), int(own.sum())).proportion_ci(method="wilson")
        assert (line.low, line.high) == pytest.approx((wilson.low, wilson.high), abs=1e-6)


def test_many_images_of_one_lesion_weigh_as_one() -> None:
    score, groups = np.linspace(0.1, 0.2, 120), np.array([*range(60), *[60] * 60])
    (line,) = measure_near_scores(_images(score, (groups == 60).astype(np.int64), groups))
    assert line.groups == 61
    assert line.share == pytest.approx(1 / 61)
    assert line.low < line.share < line.high < 0.1
