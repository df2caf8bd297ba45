"""What a model reached: each part against scikit-learn or plain counting on the same images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from melanoma.evaluation.measure.operating_points import Threshold
from melanoma.evaluation.measure.other_cancer import OtherCancer
from melanoma.evaluation.measure.performance import (
    Performance,
    measure_performance,
    operating_curve,
)
from melanoma.evaluation.metrics.bootstrap import bootstrap_intervals
from melanoma.evaluation.metrics.delong import delong_interval
from melanoma.evaluation.metrics.metric_catalog import METRICS
from melanoma.evaluation.metrics.net_benefit import decision_curve
from melanoma.evaluation.metrics.probability_scores import exact_calibration_error
from melanoma.evaluation.metrics.ranking import auroc
from melanoma.evaluation.scored_images import NO_FOLD, ScoredImages

TWO = ("benign", "melanoma")
FOUR = ("bcc", "melanoma", "nevus", "keratosis")
POINTS = (Threshold(0.2, "sensitivity 0.95"), Threshold(0.6, "specificity 0.9"))


def _images(
    target: Any,
    by_class: Any,
    *,
    crossfit: Any = None,
    melanoma: tuple[str, ...] = ("melanoma",),
    **columns: Any,
) -> ScoredImages:
    """Images i0, i1, ... of two classes, or of four, each a group of its own in fold 0 or 1."""
    by_class = np.asarray(by_class, float)
    if by_class.ndim == 1:
        by_class = np.stack([1 - by_class, by_class], axis=1)
    rows = np.arange(len(target))
    table = {
        "image_name": [f"i{row}" for row in rows],
        "patient_id": "",
        "group": [f"g{row}" for row in rows],
        "target": target,
        "fold": rows % 2,
        **columns,
    }
    classes = TWO if by_class.shape[1] == 2 else FOUR
    priors = tuple((np.bincount(target, minlength=len(classes)) / len(target)).tolist())
    risk: dict[str, Any] = {"bcc": "malignant", "melanoma": "malignant", "nevus": "benign"}
    return ScoredImages(
        pd.DataFrame(table),
        classes,
        melanoma,
        by_class,
        by_class if crossfit is None else crossfit,
        priors,
        {**risk, "keratosis": "benign"} if classes == FOUR else {},
    )


def _drawn(count: int = 120, classes: int = 2, *, rare: bool = False, **more: Any) -> ScoredImages:
    """Scores better than chance, in pairs of images that are one lesion; a melanoma of 50 images
    where it is rare."""
    rng = np.random.default_rng(7)
    numbers = np.arange(count)
    target = rng.permutation((numbers % 50 == 0).astype(int) if rare else numbers % classes)
    odds = np.exp(rng.normal(size=(count, classes)) + 1.2 * np.eye(classes)[target])
    groups = [f"g{row // 2}" for row in range(count)]
    return _images(target, odds / odds.sum(axis=1, keepdims=True), group=groups, **more)


def _measured(images: ScoredImages, points: Any = POINTS, **more: Any) -> Performance:
    rules: dict[str, Any] = {"uncalibrated": images.by_class, "resamples": 40, "seed": 1}
    return measure_performance(images, points, **{**rules, **more})


@pytest.fixture(scope="module")
def two() -> Performance:
    return _measured(_drawn())


@pytest.fixture(scope="module")
def four() -> Performance:
    return _measured(_drawn(classes=4))


def test_images_classes_groups_and_patients_are_counted() -> None:
    target, scores = [0, 1, 1, 0, 0], [0.1, 0.9, 0.4, 0.3, 0.2]
    rows: dict[str, Any] = {"group": list("aabbc"), "patient_id": ["p", "p", "q", "", ""]}
    data = _measured(_images(target, scores, **rows)).data
    assert (data.images, data.positives, data.groups, data.patients) == (5, 2, 3, 2)
    assert data.prevalence == 0.4
    assert data.classes == {"benign": 3, "melanoma": 2}
    assert _measured(_images(target, scores)).data.patients is None, "nobody is known, not 0"


def test_two_classes_are_called_by_the_first_threshold_and_several_by_the_likeliest() -> None:
    found = _measured(_images([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.7]))
    assert found.confusion.rule == "melanoma_probability >= 0.2 (sensitivity 0.95)"
    assert found.confusion.counts == ((1, 1), (0, 2)), "an image at the threshold is flagged"
    likeliest = [0, 2, 2, 3, 1]
    several = _measured(_images([0, 1, 2, 3, 1], 0.1 + 0.6 * np.eye(4)[likeliest]))
    assert several.confusion.rule == "likeliest class"
    assert several.confusion.classes == FOUR
    assert several.confusion.counts == ((1, 0, 0, 0), (0, 1, 1, 0), (0, 0, 1, 0), (0, 0, 0, 1))


def test_calibration_before_is_the_networks_own_and_after_is_cross_fitted() -> None:
    images = _drawn()
    own, crossfit = images.by_class**2, 0.5 * images.by_class + 0.25
    own /= own.sum(axis=1, keepdims=True)
    found = _measured(_drawn(crossfit=crossfit), uncalibrated=own)
    for state, scores in ((found.before, own[:, 1]), (found.after, crossfit[:, 1])):
        for name, theirs in (("brier", sk.brier_score_loss), ("log_loss", sk.log_loss)):
            expected = theirs(images.target, scores)
            assert getattr(state, name).value == pytest.approx(expected, abs=1e-12)
        assert state.ece_if_exact == pytest.approx(exact_calibration_error(scores))
        assert sum(part.images for part in state.bins) == len(images)
        assert sum(part.images * part.predicted for part in state.bins) == pytest.approx(
            scores.sum()
        )
    assert found.metrics["brier"] == found.after.brier
    # Halving the log-odds calls for twice the slope, and the square of the odds for half of it.
    assert found.before.slope is not None and found.after.slope is not None
    assert found.before.slope < 1 < found.after.slope
    alone = _measured(_images([0, 0, 0], [0.1, 0.2, 0.3]))
    assert (alone.after.slope, alone.after.intercept) == (None, None)


def test_one_set_of_resamples_of_whole_lesions_gives_every_interval(two: Performance) -> None:
    """Of two classes the second one's line is the report's own AUROC, to the last digit."""
    images = _drawn()
    rules: dict[str, Any] = {"resamples": 40, "rng": np.random.default_rng(1)}
    alone = auroc(images.positive, images.probability)
    expected = bootstrap_intervals({"auroc": alone}, images.groups, **rules)["auroc"].measured()
    assert two.metrics["auroc"] == two.per_class[1].auroc == expected
    assert two.per_class[1].recall == two.thresholds[0].sensitivity
    assert two == _measured(images)


def test_only_metrics_of_the_catalog_that_apply_stand_among_the_metrics() -> None:
    for images in (_drawn(), _drawn(classes=4), _drawn(classes=4, melanoma=())):
        points = POINTS if images.melanoma else ()
        expected = {name for name, spec in METRICS.items() if spec.applies(images)}
        assert set(_measured(images, points).metrics) == expected


def test_delong_checks_the_auroc_with_images_and_with_lesions_as_units(two: Performance) -> None:
    images = _drawn()
    target, score = images.positive, images.probability
    alone = delong_interval(target, score)
    together = delong_interval(target, score, groups=images.groups)
    assert alone.low != pytest.approx(together.low, abs=1e-6)
    assert two.cross_checks == {
        "auroc_delong": alone.measured(),
        "auroc_delong_clustered": together.measured(),
    }


@pytest.mark.parametrize(
    "images",
    [
        _images([0, 0, 0], [0.1, 0.2, 0.3]),
        _images([1, 1], [0.1, 0.2]),
        _drawn(classes=4, melanoma=()),
    ],
    ids=["no melanoma", "melanomas alone", "no class is one"],
)
def test_without_both_outcomes_there_is_no_curve(images: ScoredImages) -> None:
    found = _measured(images, POINTS if images.melanoma else ())
    assert found.curves is found.operating_curve is found.net_benefit is None
    assert found.cross_checks == {}
    prevalence = images.positive.mean() if images.melanoma else None
    assert found.data.prevalence == prevalence


@pytest.mark.parametrize("count", [60, 3000])
def test_curves_run_through_points_of_scikit_learn_s_from_end_to_end(count: int) -> None:
    images = _drawn(count)
    curves = _measured(images, resamples=2).curves
    assert curves is not None
    false, true, _ = sk.roc_curve(images.positive, images.probability)
    precision, recall, _ = sk.precision_recall_curve(images.positive, images.probability)
    theirs = {"roc": (false, true), "pr": (recall[recall > 0], precision[recall > 0])}
    for name, (xs, ys) in theirs.items():
        curve = getattr(curves, name)
        points = set(zip(curve.x, curve.y, strict=True))
        assert points <= set(zip(xs.round(6).tolist(), ys.round(6).tolist(), strict=True))
        assert len(curve.x) <= 200
        assert list(curve.x) == sorted(curve.x), "drawn from the left to the right"
        assert np.trapezoid(curve.y, curve.x) == pytest.approx(abs(np.trapezoid(ys, xs)), abs=0.005)
    assert (curves.roc.x[0], curves.roc.y[0]) == (0, 0)
    assert (curves.roc.x[-1], curves.roc.y[-1]) == (1, 1)
    assert curves.pr.x[0] > 0, "before the first melanoma there is no precision"
    assert curves.pr.x[-1] == 1


@pytest.mark.parametrize("count", [60, 3000])
def test_an_operating_curve_says_what_each_threshold_reaches(count: int) -> None:
    images = _drawn(count, rare=count > 60)
    curve = operating_curve(images)
    assert curve is not None
    thresholds = np.array(curve.thresholds)
    assert (np.diff(thresholds) > 0).all()
    assert len(thresholds) == 60 if count == 60 else 100 < len(thresholds) <= 200
    flagged = images.probability[None, :] >= thresholds[:, None]
    caught = flagged[:, images.positive == 1].mean(axis=1)
    spared = 1 - flagged[:, images.positive == 0].mean(axis=1)
    assert np.allclose(curve.sensitivity, caught, atol=1e-6)
    assert np.allclose(curve.specificity, spared, atol=1e-6)
    assert (curve.sensitivity[0], curve.specificity[0]) == (1, 0)
    assert thresholds[-1] == images.probability.max()
    # Even along the curve, where rare melanomas are close together too: a step of its length and
    # the one melanoma that overshoots it.
    steps = np.abs(np.diff(curve.sensitivity)) + np.abs(np.diff(curve.specificity))
    assert steps.max() <= 2 / 199 + 1 / images.positive.sum()


def test_each_class_has_its_own_numbers(four: Performance) -> None:
    images = _drawn(classes=4)
    called = images.by_class.argmax(axis=1)
    for number, line in enumerate(four.per_class):
        own, says = images.target == number, called == number
        assert (line.name, line.melanoma) == (FOUR[number], number == 1)
        assert line.images == own.sum()
        scores = images.by_class[:, number]
        expected = {
            "auroc": sk.roc_auc_score(own, scores),
            "pr_auc": sk.average_precision_score(own, scores),
            "precision": sk.precision_score(own, says),
            "recall": sk.recall_score(own, says),
            "f1": sk.f1_score(own, says),
        }
        for name, value in expected.items():
            found = getattr(line, name)
            assert found.value == pytest.approx(value, abs=1e-12)
            assert found.low < found.high


def test_the_thresholds_and_the_rule_of_other_cancers_are_described_in_their_order() -> None:
    images = _drawn(classes=4)
    assert [point.at for point in _measured(images).thresholds] == [point.at for point in POINTS]
    assert _measured(images).any_malignancy is None
    rule = OtherCancer(0.4, "sensitivity 0.95", ("bcc",))
    told = _measured(images, other_cancer=rule).any_malignancy
    assert told is not None
    share = images.by_class[:, 0] / (1 - images.by_class[:, 1])
    other = (images.probability < POINTS[0].value) & (share >= rule.value)
    assert [line.other_cancer_likely for line in told.by_class] == [
        (other & (images.target == number)).sum() for number in range(4)
    ]


def test_net_benefit_is_of_cross_fitted_probabilities_and_resamples_whole_lesions() -> None:
    crossfit = _drawn().by_class[::-1]
    images = _drawn(crossfit=crossfit)
    rules: dict[str, Any] = {"resamples": 40, "rng": np.random.default_rng(1)}
    expected = decision_curve(images.positive, crossfit[:, 1], images.groups, **rules)
    assert _measured(images).net_benefit == expected


def test_the_largest_errors_are_those_whose_true_class_got_least_the_worst_first() -> None:
    target = [0, 1, 1, 0, 2]
    by_class = [
        *([0.1, 0.6, 0.2, 0.1], [0.7, 0.1, 0.1, 0.1], [0.1, 0.8, 0.05, 0.05]),
        *([0.05, 0.15, 0.3, 0.5], [0.3, 0.3, 0.3, 0.1]),
    ]
    found = _measured(_images(target, by_class, fold=[0, 1, NO_FOLD, 1, 0])).largest_errors
    # Equal ones in the table's order.
    assert [error.image_name for error in found] == ["i3", "i0", "i1", "i4", "i2"]
    worst = found[0]
    assert (worst.label, worst.predicted, worst.probability) == ("bcc", "keratosis", 0.05)
    assert worst.melanoma_probability == 0.15
    assert [error.fold for error in found] == [1, 0, 1, 0, None]
    without = _measured(_images(target, by_class, melanoma=()), ()).largest_errors
    assert {error.melanoma_probability for error in without} == {None}
    assert len(_measured(_drawn(classes=4)).largest_errors) == 24
