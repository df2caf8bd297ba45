"""Within a patient: pairs, places and what is found by looking at the highest alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from melanoma.evaluation.calibration import by_class
from melanoma.evaluation.metrics.bootstrap import SumStatistic
from melanoma.evaluation.metrics.within_patient import (
    caught_in_top,
    concordance,
    has_both_in_a_patient,
    melanoma_rank,
)
from melanoma.evaluation.scored_images import ScoredImages

# Patient, lesion, melanoma, probability. In a the melanoma is second of four, one of which has two
# photographs; in b it is tied with the highest of two; c has melanomas alone, d one lesion, and of
# the last nobody knows whose it is.
ROWS = [
    ("a", "1", 0, 0.9),
    ("a", "", 1, 0.6),
    ("a", "2", 0, 0.9),
    ("a", "2", 0, 0.1),
    ("a", "", 0, 0.2),
    ("b", "", 1, 0.3),
    ("b", "", 0, 0.3),
    ("c", "", 1, 0.1),
    ("c", "", 1, 0.2),
    ("d", "", 1, 0.0),
    ("", "", 0, 1.0),
]


def _images(rows: list[tuple[str, str, int, float]]) -> ScoredImages:
    table = pd.DataFrame(rows, columns=["patient_id", "lesion_id", "target", "probability"])
    table["group"] = table["patient_id"]
    shares = by_class(table[["probability"]].to_numpy())
    return ScoredImages(table, ("other", "melanoma"), ("melanoma",), shares, shares, (0.5, 0.5))


def _value(statistic: SumStatistic, weights: list[float] | None = None) -> float:
    return float(statistic(np.array([weights or [1.0] * len(ROWS)]))[0])


def test_pairs_places_and_the_highest_are_those_of_a_count_by_hand() -> None:
    images = _images(ROWS)
    assert has_both_in_a_patient(images)
    lesions = images.lesions
    assert _value(concordance(lesions)) == pytest.approx((2 + 0.5) / 4)
    # a: 2nd; b: between 1st and 2nd; c has no other lesion.
    assert _value(melanoma_rank(lesions)) == pytest.approx((2 + 1.5) / 2)
    assert _value(caught_in_top(1, lesions)) == pytest.approx((0 + 0.5 + 1 + 0) / 4)
    assert _value(caught_in_top(3, lesions)) == pytest.approx(1.0)  # of a alone


def test_a_patient_drawn_twice_counts_twice() -> None:
    twice = [2.0 if row[0] == "a" else 1.0 for row in ROWS]
    assert _value(concordance(_images(ROWS).lesions), twice) == pytest.approx((4 + 0.5) / 7)


def test_what_lifts_all_of_a_patient_s_lesions_changes_nothing_within() -> None:
    lifted = [(who, lesion, target, p / 2 if who == "a" else p) for who, lesion, target, p in ROWS]
    for make in (concordance, melanoma_rank):
        assert _value(make(_images(lifted).lesions)) == _value(make(_images(ROWS).lesions))


def test_without_a_patient_of_both_kinds_there_is_nothing_to_compare() -> None:
    assert not has_both_in_a_patient(_images([row for row in ROWS if row[0] in ("c", "d", "")]))
