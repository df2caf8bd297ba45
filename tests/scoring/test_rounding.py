"""How far a faster precision moves answers; and it is never chosen unasked."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from melanoma.scoring.backends.backend_catalog import Engine
from melanoma.scoring.rounding import measure_rounding

POSITIVE = np.arange(60) % 3 == 0


def _draw() -> np.ndarray:
    rng = np.random.default_rng(0)
    found = rng.dirichlet([1, 1, 1, 1], 60)
    found[POSITIVE, 1] += 0.3
    return np.round(found / found.sum(axis=1, keepdims=True), 1)  # with ties


def test_the_changes_are_those_of_the_same_images() -> None:
    exact = _draw()
    rounded = exact.copy()
    rounded[7, 0] += 0.03
    rounded[8, 2] -= 0.01
    rounded[9, [1, 3]] += [0.05, -0.05]
    threshold = float(exact[9, 1:3].sum()) + 0.02
    found = measure_rounding(exact, rounded, POSITIVE, melanoma=[1, 2], threshold=threshold)
    assert found.largest_change == pytest.approx(0.05)
    assert (found.images, found.images_above, found.flags_turned) == (60, 2, 1)
    before, after = (roc_auc_score(POSITIVE, each[:, 1:3].sum(axis=1)) for each in (exact, rounded))
    assert found.auroc == pytest.approx(before)
    assert found.auroc_change == pytest.approx(after - before)
    assert found.auroc_change != 0
    assert not found.holds


def test_what_is_equal_holds_and_one_class_alone_has_no_auroc() -> None:
    exact = _draw()
    assert measure_rounding(exact, exact, POSITIVE, melanoma=[1], threshold=0.5).holds
    with pytest.raises(ValueError, match="needs melanomas and others"):
        measure_rounding(exact, exact, POSITIVE & False, melanoma=[1], threshold=0.5)


@pytest.mark.parametrize("backend", ["auto", "openvino", "torch"])
def test_bfloat16_is_only_what_was_asked_for(backend: str) -> None:
    assert Engine(backend).precision == "float32"
