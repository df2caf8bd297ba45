"""Stacking with age, sex and site: they help where they tell something, and only they may."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss

from melanoma.errors import DataError, RecipeError
from melanoma.evaluation.blend_context import context_features, require_context
from melanoma.evaluation.blending import blend_nested, fit_stacking


def frame_of(**columns: list[object]) -> pd.DataFrame:
    return pd.DataFrame({"age": np.nan, "sex": "", "site": "", **columns}, index=range(3))


def test_what_is_not_known_is_told_from_what_is_usual() -> None:
    frame = frame_of(age=[50.0, np.nan, 70.0], sex=["male", "", "female"])
    found, names = context_features(frame, ["age", "sex"])
    assert names == ["age", "age not known", "sex female", "sex male"]
    assert found.tolist() == [[0, 0, 0, 1], [0, 1, 0, 0], [1, 0, 1, 0]]


@pytest.mark.parametrize("name", ["bytes", "width", "patient_id", "images"])
def test_facts_of_the_file_and_identities_are_no_inputs(name: str) -> None:
    with pytest.raises(RecipeError, match="never inputs"):
        require_context([name])


def test_a_column_that_nobody_filled_is_refused() -> None:
    with pytest.raises(DataError, match="knows it of no image"):
        context_features(frame_of(age=[50.0, 60.0, 70.0]), ["age", "site"])


@pytest.mark.parametrize("classes", [2, 3])
def test_stacking_with_what_tells_more_is_better_and_sees_no_label_of_its_own(
    classes: int,
) -> None:
    rng = np.random.default_rng(0)
    target, folds = rng.integers(0, classes, 900), rng.integers(0, 5, 900)
    context = (target == 1)[:, None] + rng.normal(size=(900, 1))
    chance = rng.dirichlet(np.ones(classes), (1, 900))
    alone, _ = blend_nested(fit_stacking, chance, target, folds)
    beside, _ = blend_nested(fit_stacking, chance, target, folds, context)
    assert log_loss(target, beside) < log_loss(target, alone) - 0.02
    changed = np.where(folds == 2, (target + 1) % classes, target)
    again, _ = blend_nested(fit_stacking, chance, changed, folds, context)
    assert np.array_equal(again[folds == 2], beside[folds == 2])
