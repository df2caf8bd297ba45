"""Metrics of order by few sums: neighbors of one kind are one, and nothing is changed by it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from melanoma.evaluation.metrics import ranking
from melanoma.evaluation.metrics.bootstrap import SumStatistic
from melanoma.evaluation.metrics.ranking import (
    auroc,
    average_precision,
    partial_auroc,
    sensitivity_at_specificity,
)
from melanoma.types import Floats, Integers


def _at_specificity(target: Integers, score: Floats, weights: Floats) -> float:
    false, true, _ = roc_curve(target, score, sample_weight=weights, drop_intermediate=False)
    return float(true[false <= 0.2 + 1e-9].max())


def _isic_2024(target: Integers, score: Floats, weights: Floats) -> float:
    scaled = roc_auc_score(1 - target, -score, max_fpr=0.2, sample_weight=weights)
    least = 0.5 * 0.2**2
    return float(least + (scaled - 0.5) / 0.5 * (0.2 - least))


METRICS: dict[str, tuple[Callable[..., SumStatistic], Callable[..., float]]] = {
    "auroc": (auroc, lambda t, s, w: roc_auc_score(t, s, sample_weight=w)),
    "ap": (average_precision, lambda t, s, w: average_precision_score(t, s, sample_weight=w)),
    "pauc": (partial(partial_auroc, 0.8), _isic_2024),
    "spec": (partial(sensitivity_at_specificity, 0.8), _at_specificity),
}


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("share", [0.03, 0.5, 0.97])
@pytest.mark.parametrize("levels", [5, 40, 10**6])
def test_rare_positives_and_rare_negatives_are_ranked_as_scikit_learn_does(
    monkeypatch: pytest.MonkeyPatch, name: str, share: float, levels: int
) -> None:
    monkeypatch.setattr(ranking, "_SCORES_AT_ONCE", 16)
    rng = np.random.default_rng(0)
    target = (rng.random(400) < share).astype(np.int64)
    score = np.floor((rng.random(400) * 0.7 + 0.3 * target) * levels) / levels
    weights = rng.integers(0, 3, (6, 400)).astype(np.float64)
    make, theirs = METRICS[name]
    found = make(target, score)(weights)
    expected = [theirs(target, score, one) for one in weights]
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", ["auroc", "pauc", "spec"])
@pytest.mark.parametrize("rare", [0, 1])
def test_where_one_kind_is_rare_there_is_little_to_add_up(name: str, rare: int) -> None:
    rng = np.random.default_rng(0)
    target = np.full(5000, 1 - rare)
    target[rng.choice(5000, 50, replace=False)] = rare
    statistic = METRICS[name][0](target, rng.random(5000))
    assert statistic.columns.shape[0] <= 2 * (2 * 50 + 1)
