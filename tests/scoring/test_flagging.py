"""Which operating point flags an answer: the bundle's first, or the one that was asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from melanoma.errors import RecipeError
from melanoma.evaluation.report.schema_points import OperatingCurve
from melanoma.scoring.bundle.bundle import Bundle, load_bundle
from melanoma.scoring.bundle.operating import Reached
from melanoma.scoring.flagging import flagging_point, moved_point

CURVE = OperatingCurve(
    thresholds=(0.05, 0.2, 0.5, 0.9),
    sensitivity=(1.0, 0.9, 0.6, 0.1),
    specificity=(0.1, 0.4, 0.8, 1.0),
)


@pytest.fixture(scope="module")
def bundle(bundle_folder: Path) -> Bundle:
    """Of a share of melanomas of a fifth, with a curve of four points."""
    found = load_bundle(bundle_folder)
    return replace(found, curve=CURVE, calibration=replace(found.calibration, prevalence=0.2))


def test_the_first_point_flags_unless_a_threshold_is_asked_for(bundle: Bundle) -> None:
    assert flagging_point(bundle, None) == bundle.points[0]
    asked = flagging_point(bundle, 0.3)
    assert asked is not None
    assert (asked.value, asked.at) == (0.3, "asked for")
    assert (asked.sensitivity, asked.specificity) == (Reached(0.6), Reached(0.8))
    assert flagging_point(replace(bundle, thresholds=()), None) is None


def test_a_bundle_without_melanoma_has_no_threshold_to_ask_for(bundle: Bundle) -> None:
    nobody = replace(bundle, melanoma=(), thresholds=())
    assert flagging_point(nobody, None) is None
    with pytest.raises(RecipeError, match="names no melanoma class"):
        flagging_point(nobody, 0.5)


@pytest.mark.parametrize(("threshold", "prevalence"), [(0.01, 0.02), (0.3, 0.02), (0.6, 0.5)])
def test_a_threshold_at_another_prevalence_reaches_what_flags_the_same_images(
    bundle: Bundle, threshold: float, prevalence: float
) -> None:
    """By odds: they are those of the sealed share, times the ratio of the two shares' odds."""
    odds = threshold / (1 - threshold) * (0.2 / 0.8) / (prevalence / (1 - prevalence))
    reached = next(s for t, s in zip(CURVE.thresholds, CURVE.sensitivity, strict=True)
                   if t >= odds / (1 + odds))  # fmt: skip
    found = moved_point(bundle, threshold, prevalence)
    assert found is not None
    assert found.value == threshold
    plain = flagging_point(bundle, threshold)
    assert plain is not None
    assert found.sensitivity == Reached(reached) != plain.sensitivity


def test_nothing_moves_where_there_is_no_other_share(bundle: Bundle) -> None:
    plain = flagging_point(bundle, 0.3)
    assert moved_point(bundle, 0.3, None) == moved_point(bundle, 0.3, 0.2) == plain
    unknown = replace(bundle, calibration=replace(bundle.calibration, prevalence=None))
    assert moved_point(unknown, 0.3, 0.02) == plain
    for end in (0.0, 1.0):  # they have no odds
        assert moved_point(bundle, end, 0.02) == flagging_point(bundle, end)
