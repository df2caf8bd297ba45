"""Which classes a photograph may be, and when that is too much doubt for a calm verdict."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from melanoma.evaluation.measure.prediction_sets import SetRule
from melanoma.scoring.bundle.bundle import Bundle, load_bundle
from melanoma.scoring.possible import PossibleClasses, doubt, possible_classes

CLASSES = ("nevus", "bcc", "melanoma", "wart")
EVEN = (0.25,) * 4


@pytest.fixture(scope="module")
def bundle(bundle_folder: Path) -> Bundle:
    """Four classes, with a threshold each."""
    found = load_bundle(bundle_folder)
    return replace(
        found,
        classes=CLASSES,
        sets=SetRule(0.9, (0.5, 0.2, 0.1, 0.3), EVEN),
        calibration=replace(found.calibration, class_prevalence=EVEN),
        risk=dict(zip(CLASSES, ("benign", "malignant", "malignant", "none"), strict=True)),
    )


def classes_of(bundle: Bundle, *shares: float) -> list[str]:
    found = possible_classes(bundle, np.array(shares), dict(zip(CLASSES, shares, strict=True)))
    assert found is not None and found.level == 0.9
    return found.classes


def test_a_class_belongs_where_it_reaches_its_own_threshold_likeliest_first(bundle: Bundle) -> None:
    assert classes_of(bundle, 0.51, 0.21, 0.15, 0.13) == ["nevus", "bcc", "melanoma"]
    assert classes_of(bundle, 0.12, 0.19, 0.39, 0.30) == ["melanoma", "wart"]
    # The likeliest leads though it is below its own threshold, and alone where no other reaches.
    assert classes_of(bundle, 0.45, 0.19, 0.09, 0.27) == ["nevus"]


def test_names_go_with_the_bundle_s_order_and_not_with_the_answer_s(bundle: Bundle) -> None:
    shares = {"wart": 0.02, "melanoma": 0.11, "nevus": 0.87, "bcc": 0.0}
    found = possible_classes(bundle, np.array([shares[name] for name in CLASSES]), shares)
    assert found == PossibleClasses(0.9, ["nevus", "melanoma"])


def test_a_moved_answer_keeps_its_set_and_its_own_likeliest_leads(bundle: Bundle) -> None:
    mean = np.array([0.28, 0.33, 0.28, 0.11])
    moved = {"nevus": 0.6, "bcc": 0.3, "melanoma": 0.06, "wart": 0.04}
    found = possible_classes(bundle, mean, moved)
    assert found is not None and found.classes == ["nevus", "bcc", "melanoma"]
    # The nevus is in the set as the likeliest of the answer alone.
    assert not bundle.sets.of(mean)[0]


def test_a_bundle_from_before_there_were_sets_has_none(bundle: Bundle) -> None:
    assert possible_classes(replace(bundle, sets=None), np.full(4, 0.25), {}) is None
    assert doubt(bundle, None) is None


@pytest.mark.parametrize(
    ("classes", "unsure"),
    [
        (["nevus"], False),
        (["nevus", "wart"], False),
        (["bcc", "melanoma"], False),
        (["nevus", "bcc"], True),
        (["melanoma", "wart"], True),
    ],
)
def test_there_is_doubt_where_a_cancer_stands_beside_a_harmless_class(
    bundle: Bundle, classes: list[str], unsure: bool
) -> None:
    said = doubt(bundle, PossibleClasses(0.9, classes))
    assert (said is not None) == unsure
    if said:
        assert f"cannot tell {classes[0]} from {classes[1]} here" in said
        assert said.endswith("Have a doctor look at it.")


def test_without_stated_risks_melanoma_alone_is_the_cancer(bundle: Bundle) -> None:
    silent = replace(bundle, risk={})
    assert doubt(silent, PossibleClasses(0.9, ["nevus", "bcc"])) is None
    said = doubt(silent, PossibleClasses(0.9, ["nevus", "bcc", "melanoma"]))
    assert said is not None and "nevus, bcc from melanoma" in said
