"""Other cancers are told of: the rule against plain counting, and where there is no rule."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from melanoma.errors import RecipeError
from melanoma.evaluation.calibration import Calibration
from melanoma.evaluation.measure.operating_points import Threshold, choose_thresholds
from melanoma.evaluation.measure.other_cancer import (
    choose_other_cancer,
    describe_any_malignancy,
    other_cancer_statistics,
    share_if_no_melanoma,
)
from melanoma.evaluation.metrics.bootstrap import bootstrap_intervals
from melanoma.evaluation.prevalence import move_between
from melanoma.evaluation.scored_images import ScoredImages
from melanoma.recipe.overrides import make_recipe
from melanoma.recipe.recipe import Recipe

CLASSES = ("bcc", "melanoma", "nevus", "keratosis")
RISK: dict[str, Any] = {
    "bcc": "malignant",
    "melanoma": "malignant",
    "nevus": "benign",
    "keratosis": "premalignant",
}


def _recipe(**more: Any) -> Recipe:
    return make_recipe(
        {
            "name": "four",
            "classes": list(CLASSES),
            "melanoma": ["melanoma"],
            "data": {"reader": "class_folders"},
            "folds": {"name": "four"},
            **more,
        }
    )


def _logits(images: int = 400) -> tuple[Any, Any]:
    rng = np.random.default_rng(5)
    target = rng.choice(4, size=images, p=[0.15, 0.2, 0.5, 0.15])
    return rng.normal(size=(images, 4)) + 2.0 * np.eye(4)[target], target


def _images(risk: dict[str, Any] = RISK) -> ScoredImages:
    logits, target = _logits()
    odds = np.exp(logits)
    probabilities = odds / odds.sum(axis=1, keepdims=True)
    table = pd.DataFrame(
        {
            "image_name": [f"i{n}" for n in range(len(target))],
            "group": [f"g{n}" for n in range(len(target))],
            "target": target,
        }
    )
    priors = tuple((np.bincount(target) / len(target)).tolist())
    return ScoredImages(table, CLASSES, ("melanoma",), probabilities, probabilities, priors, risk)


def _share(by_class: Any) -> Any:
    return (by_class[:, 0] + by_class[:, 3]) / (1 - by_class[:, 1])


def test_the_value_is_the_highest_that_catches_the_wanted_share_of_other_cancers() -> None:
    images, rules = _images(), _recipe().evaluation
    points = choose_thresholds(images, rules)
    rule = choose_other_cancer(images, points, rules)
    assert rule is not None
    assert rule.classes == ("bcc", "keratosis")
    flagged = images.probability >= points[0].value
    theirs, share = np.isin(images.target, [0, 3]), _share(images.by_class)
    near = (rule.value - 1e-9, rule.value + 1e-9)  # the sums here round otherwise
    caught = [(flagged | (share >= value))[theirs].mean() for value in near]
    assert caught[0] >= rules.sensitivity > caught[1]


def test_the_report_counts_what_the_rule_tells_of() -> None:
    images, rules = _images(), _recipe().evaluation
    points = choose_thresholds(images, rules)
    rule = choose_other_cancer(images, points, rules)
    assert rule is not None
    found = bootstrap_intervals(
        other_cancer_statistics(images, points, rule),
        images.groups,
        resamples=20,
        rng=np.random.default_rng(0),
    )
    told = describe_any_malignancy(images, points, rule, found)
    assert told is not None
    flagged = images.probability >= points[0].value
    other = ~flagged & (_share(images.by_class) >= rule.value - 1e-9)
    grave = np.isin(images.target, [0, 1, 3])
    assert told.positives == grave.sum()
    assert told.sensitivity.value == pytest.approx((flagged | other)[grave].mean())
    assert told.specificity.value == pytest.approx(1 - (flagged | other)[~grave].mean())
    assert told.sensitivity_alone.value == pytest.approx(flagged[grave].mean())
    for number, line in enumerate(told.by_class):
        own = images.target == number
        assert (line.name, line.risk) == (CLASSES[number], RISK[CLASSES[number]])
        assert (line.images, line.flagged) == (own.sum(), (own & flagged).sum())
        assert line.other_cancer_likely == (own & other).sum()


def test_another_prevalence_of_melanoma_tells_of_the_same_images() -> None:
    logits, target = _logits()
    shares = tuple((np.bincount(target) / len(target)).tolist())
    here = Calibration(1.2, (0.1, -0.3, 0.2, 0.0), shares[1], shares)
    probabilities = here.probabilities(logits)
    both = [probabilities, move_between(shares[1], 0.01).shares(probabilities, [1])]
    assert np.abs(both[0] - both[1]).max() > 0.1
    told = [share_if_no_melanoma(p, CLASSES, ("melanoma",), ("bcc", "keratosis")) for p in both]
    np.testing.assert_allclose(told[0], told[1], rtol=1e-12)
    np.testing.assert_allclose(told[0], _share(both[0]), rtol=1e-9)


def test_where_all_is_melanoma_there_is_no_other_cancer() -> None:
    certain = np.array([[0.0, 1.0, 0.0, 0.0]])
    assert share_if_no_melanoma(certain, CLASSES, ("melanoma",), ("bcc",)).tolist() == [0.0]


@pytest.mark.parametrize(
    "risk", [{}, {**RISK, "bcc": "benign", "keratosis": "none"}], ids=["no risk", "no other cancer"]
)
def test_without_other_cancers_there_is_no_rule(risk: dict[str, Any]) -> None:
    images, rules = _images(risk), _recipe().evaluation
    points = [Threshold(0.1, "sensitivity 0.95")]
    assert choose_other_cancer(images, points, rules) is None
    assert describe_any_malignancy(images, points, None, {}) is None
    assert other_cancer_statistics(images, points, None) == {}


@pytest.mark.parametrize(
    ("risk", "said"),
    [
        ({"wart": "benign"}, "'wart' is not among the classes"),
        ({"bcc": "malignant"}, "leaves out melanoma, nevus, keratosis"),
        ({**RISK, "melanoma": "benign"}, "counts as melanoma and cannot be benign"),
        ({**RISK, "bcc": "deadly"}, "'malignant', 'premalignant', 'benign' or 'none'"),
    ],
)
def test_a_risk_that_cannot_be_meant_is_refused(risk: dict[str, str], said: str) -> None:
    with pytest.raises(RecipeError, match="risk") as caught:
        _recipe(risk=risk)
    assert said in str(caught.value)


def test_the_risk_decides_no_fold_s_numbers() -> None:
    assert _recipe(risk=RISK).digest() == _recipe().digest()
