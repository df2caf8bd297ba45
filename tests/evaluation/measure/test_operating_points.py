"""Flags by thresholds that never saw the image: each fold's comes from the others."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from melanoma.evaluation.calibration import by_class
from melanoma.evaluation.measure.operating_points import crossfit_flags
from melanoma.evaluation.scored_images import ScoredImages


def images(folds: list[int], targets: list[int], scores: list[float]) -> ScoredImages:
    shares = by_class(np.array(scores)[:, None])
    table = pd.DataFrame({"target": targets, "fold": folds, "group": range(len(folds))})
    return ScoredImages(table, ("other", "melanoma"), ("melanoma",), shares, shares, (0.5, 0.5))


# Two folds of a melanoma and two others each.
FOLDS = [0, 0, 0, 1, 1, 1]
TARGETS = [1, 0, 0, 1, 0, 0]
SCORES = [0.6, 0.5, 0.2, 0.8, 0.7, 0.1]


@pytest.mark.parametrize(
    ("at", "flagged"),
    [
        # Caught all of fold 1 from .8 on, and all of fold 0 from .6 on.
        ("sensitivity 1.0", [False, False, False, True, True, False]),
        # Spared all of fold 1's others from .8 on, and fold 0's from .6 on.
        ("specificity 1.0", [False, False, False, True, True, False]),
        # Half of the others: the lowest score above .1 is .7 in fold 1, above .2 .5 in fold 0.
        ("specificity 0.5", [False, False, False, True, True, False]),
    ],
)
def test_of_two_folds_each_is_flagged_by_the_others_threshold(at: str, flagged: list[bool]) -> None:
    found = crossfit_flags(images(FOLDS, TARGETS, SCORES), at)
    assert found is not None and found.tolist() == flagged


def test_one_fold_has_no_others_and_one_kind_of_image_no_threshold() -> None:
    assert crossfit_flags(images([0] * 6, TARGETS, SCORES), "sensitivity 0.95") is None
    for kind in (0, 1):
        alone = [*TARGETS[:3], *[kind] * 3]
        assert crossfit_flags(images(FOLDS, alone, SCORES), "sensitivity 0.95") is None


def test_a_threshold_that_was_asked_for_follows_no_rule() -> None:
    assert crossfit_flags(images(FOLDS, TARGETS, SCORES), "asked for") is None
