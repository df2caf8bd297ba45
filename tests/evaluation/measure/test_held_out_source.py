"""Figures of a source's held-out part: by the threshold and calibration of another set."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from melanoma.evaluation.measure.held_out_source import describe_held_out
from melanoma.evaluation.measure.operating_points import Threshold
from melanoma.evaluation.scored_images import ScoredImages

POINT = Threshold(0.3, "sensitivity 0.95")


def images_of(patients: list[str], target: list[int], score: list[float]) -> ScoredImages:
    frame = pd.DataFrame(
        {
            "image_name": [f"i{n}" for n in range(len(target))],
            "patient_id": patients,
            "lesion_id": "",
            "group": patients,
            "target": target,
            "fold": 0,
        }
    )
    pair = np.stack([1 - np.array(score), score], axis=1)
    return ScoredImages(frame, ("other", "melanoma"), ("melanoma",), pair, pair, (0.9, 0.1))


def test_figures_are_those_of_the_images_and_the_given_threshold() -> None:
    target = [0, 1, 0, 1, 0, 1, 0, 0]
    score = [0.1, 0.8, 0.35, 0.2, 0.05, 0.9, 0.3, 0.2]
    images = images_of([f"p{n // 2}" for n in range(8)], target, score)
    found = describe_held_out(images, POINT, trained=0.1, resamples=50, seed=0)
    assert (found.images, found.positives, found.patients) == (8, 3, 4)
    assert found.auroc.value == pytest.approx(roc_auc_score(target, score))
    assert found.sensitivity.value == pytest.approx(2 / 3)
    assert found.specificity.value == pytest.approx(3 / 5)  # flagged at the threshold, too
    assert found.within_patient_concordance is not None
    assert found.within_patient_concordance.value == pytest.approx(2 / 3)
    assert found.threshold == POINT.value
    assert found.at == POINT.at
    assert found.ece.value is not None
    assert found.ece_at_own_share.value is not None
    assert found.ece_at_own_share.value != found.ece.value


def test_the_calibration_at_the_set_s_own_share_is_that_of_the_moved_probabilities() -> None:
    # Of 1,000 images with each score s at a share of 10 %, as many are melanomas as s says at 50 %.
    score = [0.02, 0.1, 0.3, 0.8]
    odds = np.array(score) / (1 - np.array(score)) * 9  # times the ratio of the shares' odds
    counts = np.round(1000 * odds / (1 + odds)).astype(int)
    target = [int(n < count) for count in counts for n in range(1000)]
    images = images_of([""] * 4000, target, list(np.repeat(score, 1000)))
    assert np.mean(target) == pytest.approx(0.5, abs=0.2)
    found = describe_held_out(images, POINT, trained=trained_share(target), resamples=10, seed=0)
    assert found.ece_at_own_share.value == pytest.approx(0, abs=1e-3)
    assert found.ece.value is not None and found.ece.value > 0.1
    assert found.slope_at_own_share == pytest.approx(1, abs=0.01)
    assert found.intercept_at_own_share == pytest.approx(0, abs=0.01)
    # 4,000 images, p (1 - p) of the moved scores: a bin holds one score or parts of two.
    assert found.ece_if_exact == pytest.approx(0.011, abs=0.003)


def test_probabilities_that_are_too_low_at_the_own_share_have_an_intercept_above_zero() -> None:
    rng = np.random.default_rng(0)
    true = rng.beta(2, 2, 4000)
    target = list((rng.random(4000) < true).astype(int))
    odds = true / (1 - true) / 2  # said half of what they are
    images = images_of([""] * 4000, target, list(odds / (1 + odds)))
    share = float(np.mean(target))
    found = describe_held_out(images, POINT, trained=share, resamples=10, seed=0)
    assert found.intercept_at_own_share == pytest.approx(np.log(2), abs=0.1)
    assert found.slope_at_own_share == pytest.approx(1, abs=0.1)
    assert found.ece_at_own_share.value is not None and found.ece_if_exact is not None
    assert found.ece_at_own_share.value > 3 * found.ece_if_exact


def trained_share(target: list[int]) -> float:
    """The share whose odds are a ninth of the target's."""
    odds = np.mean(target) / (1 - np.mean(target)) / 9
    return float(odds / (1 + odds))


def test_without_patients_or_melanomas_what_cannot_be_said_is_not() -> None:
    images = images_of([""] * 3, [0, 0, 0], [0.1, 0.2, 0.6])
    found = describe_held_out(images, POINT, trained=0.1, resamples=10, seed=0)
    assert found.patients is None
    assert found.within_patient_concordance is None
    assert found.auroc.value is None
    assert found.ece_at_own_share.value is None
    assert found.ece_if_exact is None
    assert (found.slope_at_own_share, found.intercept_at_own_share) == (None, None)
    assert found.specificity.value == pytest.approx(2 / 3)
