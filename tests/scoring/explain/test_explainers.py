"""What is explained is what is scored: the right place, the right class, the right members."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from toy_scorer import Box, draw_marked_photograph, make_scorer, read_boxes

from melanoma.errors import ExplanationError, RecipeError
from melanoma.evaluation.prevalence import Move
from melanoma.models.classifier import make_classifier
from melanoma.scoring.backends import torch_members
from melanoma.scoring.explain.explainers import (
    LimeExplanation,
    explain_gradcam,
    explain_lime,
    time_evaluation,
)
from melanoma.scoring.explain.lime import PRECISIONS

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("superpixels_once")]

PATCH = Box(0.55, 0.60, 0.67, 0.70)  # an eightieth of the photograph
OTHER = Box(0.10, 0.10, 0.22, 0.20)
PHOTOGRAPH = draw_marked_photograph(PATCH)


def _shares(explanation: LimeExplanation, box: Box) -> np.ndarray:
    """How much of each superpixel lies in the box."""
    inside = box.mask(*explanation.segments.shape)
    counts = np.bincount(explanation.segments[inside], minlength=len(explanation.weights))
    return counts / np.bincount(explanation.segments.ravel())


@pytest.fixture(scope="module")
def medium() -> LimeExplanation:
    """Of a network that reads nothing but the patch."""
    return explain_lime(make_scorer([read_boxes([PATCH])]), PHOTOGRAPH, target="melanoma")


def test_the_one_square_that_is_read_is_green_and_by_far_the_largest(
    medium: LimeExplanation,
) -> None:
    first, second, *_ = medium.largest()
    assert _shares(medium, PATCH)[first] > 0.8
    assert medium.weights[first] > 0.3
    assert abs(medium.weights[second]) < medium.weights[first] / 4
    assert medium.r2 > 0.8


def test_for_the_other_class_the_same_square_is_red(medium: LimeExplanation) -> None:
    scorer = make_scorer([read_boxes([PATCH])])
    against = explain_lime(scorer, PHOTOGRAPH, target="benign")
    assert np.allclose(against.weights, -medium.weights, atol=1e-9)
    assert against.intercept == pytest.approx(1 - medium.intercept)


@pytest.mark.parametrize(
    ("precision", "size"), [*((precision, 48) for precision in PRECISIONS), ("Low", 224)]
)
def test_the_classifier_is_asked_exactly_as_often_as_stated(precision: str, size: int) -> None:
    scorer = make_scorer([read_boxes([PATCH], size=size)] * 2, size=size)
    explanation = explain_lime(scorer, PHOTOGRAPH, precision=precision)
    assert sum(scorer.asked) == PRECISIONS[precision] == explanation.evaluations
    assert max(scorer.asked) * size**2 <= 16 * 224**2  # memory does not grow with the evaluations


def test_the_same_seed_gives_the_same_bits_and_another_seed_other_ones(
    medium: LimeExplanation,
) -> None:
    scorer = make_scorer([read_boxes([PATCH])])
    again = explain_lime(scorer, PHOTOGRAPH, target="melanoma", seed=0)
    assert np.array_equal(again.segments, medium.segments)
    assert np.array_equal(again.weights, medium.weights)
    other = explain_lime(scorer, PHOTOGRAPH, target="melanoma", seed=1)
    assert not np.array_equal(other.weights[:20], medium.weights[:20])


def test_the_prediction_beside_the_picture_is_the_score_itself() -> None:
    scorer = make_scorer([read_boxes([PATCH]), read_boxes([OTHER])], views=2)
    expected = scorer.score_squares(scorer.square(PHOTOGRAPH)[None])[0]
    for explanation in (
        explain_lime(scorer, PHOTOGRAPH, precision="Low"),
        explain_gradcam(scorer, PHOTOGRAPH),
    ):
        found = explanation.prediction
        assert found.melanoma_probability == pytest.approx(expected.melanoma_probability, abs=1e-6)
        assert found.by_fold == pytest.approx(expected.by_fold, abs=1e-6)
        assert explanation.target == expected.prediction  # the predicted class by default


def test_views_steady_the_score_and_cost_the_regression_nothing() -> None:
    scorer = make_scorer([read_boxes([PATCH])], views=8)
    explanation = explain_lime(scorer, PHOTOGRAPH, target="melanoma")
    asked = zip(scorer.asked, scorer.viewed, strict=True)
    assert sum(count * views for count, views in asked) == 8 + PRECISIONS["Medium"]
    # The network reads one place, upright: a mirrored view would mark another one as well.
    alone = explain_lime(make_scorer([read_boxes([PATCH])]), PHOTOGRAPH, target="melanoma")
    assert np.array_equal(explanation.weights, alone.weights)
    expected = scorer.score_squares(scorer.square(PHOTOGRAPH)[None])[0]
    assert explanation.prediction == expected
    assert explanation.prediction.by_fold != alone.prediction.by_fold


def test_the_cost_of_an_evaluation_is_that_of_the_faster_networks_on_one_view() -> None:
    scorer = make_scorer([read_boxes([PATCH], size=224)] * 2, size=224, views=8)
    assert time_evaluation(scorer) > 0
    assert (scorer.asked, scorer.viewed) == ([1, 4, 4, 4], [1] * 4)


def test_bfloat16_for_the_hidden_images_leaves_the_weights_as_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    network = make_classifier("tiny_resnet", outputs=1)
    network.head.weight.data *= 20  # fresh weights hardly tell images apart
    scorer = make_scorer([network])
    found = {}
    for precision in (torch.float32, torch.bfloat16):
        monkeypatch.setattr(torch_members, "resolve_precision", lambda *_, p=precision: p)
        found[precision] = explain_lime(scorer, PHOTOGRAPH, precision="Low", target="melanoma")
    exact, quick = found.values()
    assert not np.array_equal(exact.weights, quick.weights)
    assert np.corrcoef(exact.weights, quick.weights)[0, 1] > 0.99
    # The score itself is always computed as it is served.
    assert exact.prediction == quick.prediction


def test_faster_networks_for_the_hidden_images_leave_the_weights_as_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    scorer = make_scorer([make_classifier("tiny_resnet", outputs=1)])
    monkeypatch.setattr(torch_members, "resolve_precision", lambda *_: torch.float32)
    found = [explain_lime(scorer, PHOTOGRAPH, precision="Low", target="melanoma")]
    monkeypatch.setattr(torch_members.TorchMembers, "faster", lambda self: self)
    found.append(explain_lime(scorer, PHOTOGRAPH, precision="Low", target="melanoma"))
    assert not np.array_equal(found[0].weights, found[1].weights)
    assert np.allclose(found[0].weights, found[1].weights, atol=1e-6)
    assert found[0].prediction == found[1].prediction


def test_an_ensemble_s_weights_are_the_mean_of_its_members() -> None:
    both = make_scorer([read_boxes([PATCH]), read_boxes([OTHER])])
    alone = [
        explain_lime(both.of_fold(fold), PHOTOGRAPH, target="melanoma", precision="Low")
        for fold in (0, 1)
    ]
    together = explain_lime(both, PHOTOGRAPH, target="melanoma", precision="Low")
    assert (together.folds, alone[0].folds, alone[1].folds) == ((0, 1), (0,), (1,))
    # The regression is linear in the probabilities.
    mean = (alone[0].weights + alone[1].weights) / 2
    assert np.allclose(together.weights, mean, atol=1e-9)
    assert not np.allclose(alone[0].weights, alone[1].weights, atol=0.05)
    maps = [explain_gradcam(both.of_fold(f), PHOTOGRAPH, target="melanoma").heat for f in (0, 1)]
    heat = explain_gradcam(both, PHOTOGRAPH, target="melanoma").heat
    assert np.allclose(heat, (maps[0] + maps[1]) / 2)
    assert maps[0].max() == maps[1].max() == 1


def test_gradcam_finds_the_box_of_each_class_and_of_several_that_are_melanoma() -> None:
    boxes = [Box(0, 0, 0.5, 0.5), Box(0, 0.5, 0.5, 1), Box(0.5, 0, 1, 0.5)]
    scorer = make_scorer(
        [read_boxes(boxes)],
        classes=("mole", "lentigo", "invasive"),
        melanoma=("lentigo", "invasive"),
    )
    size = scorer.bundle.size
    for box, name in zip(boxes, scorer.bundle.classes, strict=True):
        heat = explain_gradcam(scorer, PHOTOGRAPH, target=name).heat
        assert heat[box.mask(size, size)].min() > 0
        assert not heat[~box.mask(size, size)].any()
    heat = explain_gradcam(scorer, PHOTOGRAPH, target="melanoma").heat
    assert not heat[boxes[0].mask(size, size)].any()
    assert all(heat[box.mask(size, size)].any() for box in boxes[1:])


def test_lime_on_melanoma_adds_the_classes_that_count_as_it() -> None:
    scorer = make_scorer(
        [read_boxes([PATCH, OTHER, Box(0.8, 0.1, 0.9, 0.3)])],
        classes=("mole", "lentigo", "invasive"),
        melanoma=("lentigo", "invasive"),
    )
    weights = {
        name: explain_lime(scorer, PHOTOGRAPH, target=name, precision="Low").weights
        for name in (*scorer.bundle.classes, "melanoma")
    }
    assert np.allclose(weights["melanoma"], weights["lentigo"] + weights["invasive"], atol=1e-9)
    assert np.allclose(weights["melanoma"], -weights["mole"], atol=1e-9)


def test_gradcam_for_benign_is_what_speaks_against_melanoma() -> None:
    scorer = make_scorer([read_boxes([PATCH])])
    assert explain_gradcam(scorer, PHOTOGRAPH, target="melanoma").heat.max() == 1
    assert not explain_gradcam(scorer, PHOTOGRAPH, target="benign").heat.any()


def test_what_a_moved_bundle_answers_is_what_is_explained() -> None:
    """Where hardly any is a melanoma, it is none: the class that is explained, and how surely."""
    scorer = make_scorer([read_boxes([PATCH])])
    assert explain_lime(scorer, PHOTOGRAPH, precision="Low").target == "melanoma"
    scorer.bundle = replace(scorer.bundle, move=Move(1.0, -12.0, 1e-5))
    made = explain_lime(scorer, PHOTOGRAPH, precision="Low")
    assert made.target == made.prediction.prediction == "benign"
    assert made.intercept + made.weights.sum() > 0.9
    assert explain_gradcam(scorer, PHOTOGRAPH).target == "benign"


@pytest.mark.parametrize("method", [explain_lime, explain_gradcam])
def test_an_unknown_class_is_refused_before_any_work(method: object) -> None:
    scorer = make_scorer([read_boxes([PATCH])])
    with pytest.raises(RecipeError, match="unknown class 'nevus'; the bundle's are benign, mel"):
        method(scorer, PHOTOGRAPH, target="nevus")  # type: ignore[operator]
    assert scorer.asked == []


def test_melanoma_is_no_class_where_the_bundle_names_none() -> None:
    scorer = make_scorer([read_boxes([PATCH, OTHER])], classes=("a", "b"), melanoma=())
    with pytest.raises(RecipeError, match="unknown class 'melanoma'; the bundle's are a, b"):
        explain_gradcam(scorer, PHOTOGRAPH, target="melanoma")
    assert explain_gradcam(scorer, PHOTOGRAPH).prediction.melanoma_probability is None


def test_it_stops_within_a_batch_when_its_caller_leaves() -> None:
    scorer = make_scorer([read_boxes([PATCH], size=224)], size=224)
    with pytest.raises(ExplanationError, match="stopped after 17 of 200 evaluations"):
        explain_lime(scorer, PHOTOGRAPH, should_stop=lambda: sum(scorer.asked) > 10)
    assert scorer.asked == [1, 16], "another batch was asked for"


def test_it_ends_at_its_deadline_and_says_so() -> None:
    scorer = make_scorer([read_boxes([PATCH])])
    with pytest.raises(ExplanationError, match=r"deadline of 0 s passed after 1 of 200"):
        explain_lime(scorer, PHOTOGRAPH, deadline=0.0)
    assert scorer.asked == [1], "a batch was asked for after the deadline"
    assert explain_lime(scorer, PHOTOGRAPH, precision="Low", deadline=600).evaluations == 50


def test_the_plain_values_carry_the_raw_weights_and_are_json() -> None:
    scorer = make_scorer([read_boxes([PATCH])])
    lime = explain_lime(scorer, PHOTOGRAPH, precision="Low")
    values = json.loads(json.dumps(lime.as_dict(), allow_nan=False))
    assert [row["weight"] for row in values["segments"]] == lime.weights.tolist()
    assert sum(row["area"] for row in values["segments"]) == pytest.approx(1)
    assert (values["method"], values["evaluations"], values["r2"]) == ("lime", 50, lime.r2)
    heat = explain_gradcam(scorer, PHOTOGRAPH)
    values = json.loads(json.dumps(heat.as_dict(), allow_nan=False))
    assert values["heat"] == heat.heat.tolist()
    assert values["prediction"]["disclaimer"].startswith("Research software, not a medical device")


def test_a_center_bundle_explains_the_centre_square_alone() -> None:
    scorer = make_scorer([read_boxes([PATCH])], fit="center")
    tall = np.pad(PHOTOGRAPH, ((100, 100), (0, 0), (0, 0)))
    assert explain_lime(scorer, tall, precision="Low").segments.shape == (256, 256)
