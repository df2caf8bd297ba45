"""How a diagnosis was established: what histology alone says stands beside the headline."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from melanoma.evaluation.measure.operating_points import crossfit_flags
from melanoma.evaluation.measure.subgroups import with_reference
from melanoma.evaluation.metrics.bootstrap import bootstrap_intervals
from melanoma.evaluation.metrics.decisions import class_recall, sensitivity_at
from melanoma.evaluation.scored_images import ScoredImages


@pytest.mark.parametrize("column", ["dx_type", "reference_standard", "diagnosis_confirm_type"])
def test_the_tables_words_for_histology_are_one(column: str) -> None:
    frame = pd.DataFrame({column: ["histo", "Histopathology", "follow_up", None]})
    values = with_reference(frame)["reference_standard"].tolist()
    assert values == ["histology", "histology", "follow_up", ""]


def test_a_table_that_does_not_say_it_stays() -> None:
    assert list(with_reference(pd.DataFrame({"age": [1]}))) == ["age"]


def test_fourteen_of_fourteen_is_not_a_hundred_to_a_hundred_percent() -> None:
    target, score = np.ones(14, np.int64), np.ones(14)
    statistics = {
        "caught": sensitivity_at(0.5, target, score),
        "missed": sensitivity_at(2.0, target, score),
        "called": class_recall(1, target, target, classes=2),
    }
    rng = np.random.default_rng(0)
    found = bootstrap_intervals(statistics, np.arange(14), resamples=100, rng=rng)
    # Clopper & Pearson: 0.025 ** (1 / 14)
    assert found["caught"][:3] == pytest.approx((1.0, 0.7684, 1.0), abs=1e-4)
    assert found["missed"][:3] == pytest.approx((0.0, 0.0, 0.2316), abs=1e-4)
    assert found["called"] == found["caught"]
    # Twelve photographs of one lesion say less than twelve lesions.
    groups = np.minimum(np.arange(14), 2)
    rng = np.random.default_rng(0)
    found = bootstrap_intervals(statistics, groups, resamples=100, rng=rng)
    assert found["caught"].low == pytest.approx(0.025 ** (1 / 3))


def test_a_cross_fitted_threshold_never_saw_the_image() -> None:
    # Fold 1's melanomas score far lower than fold 0's: its own threshold would catch them all.
    probability = np.array([0.1, 0.2, 0.8, 0.9, 0.01, 0.02, 0.3, 0.4])
    target = np.array([0, 0, 1, 1, 0, 0, 1, 1])
    table = pd.DataFrame({"target": target, "fold": [0] * 4 + [1] * 4, "group": range(8)})
    by_class = np.stack([1 - probability, probability], axis=1)
    images = ScoredImages(
        table, ("benign", "melanoma"), ("melanoma",), by_class, by_class, (0.5, 0.5)
    )
    flags = crossfit_flags(images, "sensitivity 0.95")
    assert flags is not None
    assert flags.tolist() == [False, False, True, True, False, False, False, False]
    assert crossfit_flags(images, "asked for") is None
