"""An explanation in the service: what is asked for, where it is made, what is counted and said.

Without the routes, whose tests are test_routes_explain's: here a service and its request alone.
"""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fastapi import Request
from image_bytes import encoded
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families
from toy_scorer import Box, ToyScorer, draw_marked_photograph, make_scorer, read_boxes

from api.decoding import KEPT_SIDE, decode_to_draw
from api.error_answers import REQUEST_ID, Refusal
from api.explain_answer import Explained, answer_explanation, explain_photograph, make_question
from api.requests import ExplainRequest
from api.service import Service
from api.settings import Settings
from melanoma.data.compression import STRONG, compression_warnings
from melanoma.data.images import decode_image
from melanoma.errors import ExplanationError
from melanoma.scoring.explain.answers import GradcamAnswer, LimeAnswer
from melanoma.scoring.explain.explain_options import Question
from melanoma.scoring.explain.explainer_catalog import explain
from melanoma.scoring.explain.explainers import GradcamExplanation, LimeExplanation

RIGHT = Box(0, 0.5, 1, 1)
GRADCAM, LIME = Question("gradcam"), Question("lime", precision="Low")


@pytest.fixture(scope="module")
def toy() -> ToyScorer:
    """Benign is read from the left half, melanoma from the right."""
    return make_scorer([read_boxes([Box(0, 0, 1, 0.5), RIGHT])])


def wanted(**fields: Any) -> ExplainRequest:
    return ExplainRequest.model_validate({"image": "", **fields})


def test_what_is_not_asked_for_has_its_default(toy: ToyScorer) -> None:
    for method in ("gradcam", "lime"):
        question = make_question(wanted(), toy, default=method)
        assert question == Question(method, precision="Medium", target=None, seed=0)


def test_what_is_asked_for_is_the_question(toy: ToyScorer) -> None:
    fields = {"method": "lime", "precision": "High", "class": "benign", "seed": 9}
    question = make_question(wanted(**fields), toy, default="gradcam")
    assert question == Question("lime", precision="High", target="benign", seed=9)


@pytest.mark.parametrize("field", [{"precision": "Low"}, {"seed": 0}, {"seed": 3}])
def test_a_field_of_another_method_is_refused_with_that_method(
    field: dict[str, Any], toy: ToyScorer
) -> None:
    with pytest.raises(Refusal) as refused:
        make_question(wanted(**field), toy, default="gradcam")
    assert refused.value.code == "invalid_field"
    assert str(refused.value) == "method: precision and seed belong to lime, not to gradcam"


def test_melanoma_is_a_class_where_the_bundle_names_one_and_is_listed_once() -> None:
    network = read_boxes([Box(0, 0, 1, 0.5), RIGHT])
    named = make_scorer([network])
    grouped = make_scorer([network], classes=("nevus", "lentigo maligna"), melanoma=("lentigo",))
    without = make_scorer([network], classes=("acne", "warts"), melanoma=())
    for scorer in (named, grouped):
        question = make_question(wanted(**{"class": "melanoma"}), scorer, default="gradcam")
        assert question.target == "melanoma"
    for scorer, known in (
        (named, "benign, melanoma"),
        (grouped, "nevus, lentigo maligna, melanoma"),
        (without, "acne, warts"),
    ):
        with pytest.raises(Refusal) as refused:
            make_question(wanted(**{"class": "mole"}), scorer, default="gradcam")
        assert str(refused.value) == f"class: the bundle's are {known}"
    with pytest.raises(Refusal):
        make_question(wanted(**{"class": "melanoma"}), without, default="gradcam")


class Caller(Request):
    """A request whose caller is there, or has gone."""

    gone = False

    async def is_disconnected(self) -> bool:
        return self.gone


def ask(
    service: Service,
    scorer: ToyScorer,
    data: bytes,
    question: Question,
    *,
    gone: bool = False,
    ready: bool = True,
) -> Explained:
    caller = Caller({"type": "http", "headers": [], REQUEST_ID: "0" * 32})
    caller.gone = gone

    async def scenario() -> Explained:
        if ready:
            service.readiness.check(service.scorers)
        return await explain_photograph(service, scorer, data, question, request=caller)

    return asyncio.run(scenario())


@pytest.fixture
def service(toy: ToyScorer) -> Iterator[Service]:
    yield Service([toy], Settings())


@pytest.fixture(scope="module")
def data() -> bytes:
    return encoded(draw_marked_photograph(Box(0.3, 0.6, 0.7, 0.9)), "PNG")


def counted(service: Service) -> dict[str, float]:
    """Photographs by what became of them."""
    return {
        sample.labels["outcome"]: sample.value
        for family in text_string_to_metric_families(service.metrics.text().decode())
        for sample in family.samples
        if sample.name == "melanoma_photographs_total" and sample.value
    }


@pytest.mark.parametrize("question", [GRADCAM, LIME], ids=lambda question: question.method)
def test_an_explanation_comes_with_the_score_and_its_picture_and_is_counted_once(
    question: Question, service: Service, toy: ToyScorer, data: bytes
) -> None:
    explained = ask(service, toy, data, question)
    assert explained.explanation.method == question.method
    score = toy.score(data)
    assert explained.prediction.melanoma_probability == pytest.approx(
        score.melanoma_probability, abs=1e-6
    )
    with Image.open(io.BytesIO(explained.picture)) as picture:
        assert picture.format == "PNG"
    assert counted(service) == {"explained": 1}
    # What LIME took is what the next one is expected to take; Grad-CAM says nothing of it.
    assert (service.costs.expect("toy", "Low") is not None) == (question.method == "lime")


def test_a_class_s_evidence_lies_in_its_half(service: Service, toy: ToyScorer, data: bytes) -> None:
    explanation = ask(service, toy, data, replace(GRADCAM, target="melanoma")).explanation
    assert isinstance(explanation, GradcamExplanation)
    inside = RIGHT.mask(*explanation.heat.shape)
    assert explanation.heat[inside].sum() > 100 * explanation.heat[~inside].sum()


def test_before_the_golden_score_nothing_is_explained_and_nothing_counted(
    service: Service, toy: ToyScorer, data: bytes
) -> None:
    for question in (GRADCAM, LIME):
        with pytest.raises(Refusal) as refused:
            ask(service, toy, data, question, ready=False)
        assert refused.value.code == "not_ready"
    assert counted(service) == {}


def test_a_precision_that_does_not_fit_is_refused_before_the_photograph_is_looked_at(
    service: Service, toy: ToyScorer
) -> None:
    service.costs._each["toy"] = 1e6
    with pytest.raises(Refusal) as refused:
        ask(service, toy, b"no photograph", LIME)
    assert refused.value.code == "does_not_fit"
    with pytest.raises(Refusal) as refused:
        ask(service, toy, b"no photograph", GRADCAM)
    assert refused.value.code == "unsupported_format"
    assert counted(service) == {"unsupported_format": 1}


@pytest.mark.parametrize(("gone", "code"), [(False, "deadline"), (True, "client_gone")])
def test_an_ended_explanation_is_the_deadline_s_or_the_caller_s(
    gone: bool,
    code: str,
    service: Service,
    toy: ToyScorer,
    data: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def end(*_: Any, **__: Any) -> None:
        raise ExplanationError("ended after 7 of 50 evaluations")

    monkeypatch.setattr("melanoma.scoring.explain.explainers.explain_lime", end)
    with pytest.raises(Refusal) as refused:
        ask(service, toy, data, LIME, gone=gone)
    assert refused.value.code == code
    assert ("7 of 50" in str(refused.value)) == (not gone)
    assert counted(service) == {code: 1}
    assert not service.slot.busy
    assert service.costs.expect("toy", "Low") is None


@pytest.mark.parametrize("question", [GRADCAM, LIME], ids=lambda question: question.method)
def test_what_a_model_raises_is_one_refusal_and_leaves_its_place(
    question: Question,
    service: Service,
    toy: ToyScorer,
    data: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("CUDA out of memory at /srv/secret")

    with monkeypatch.context() as patch:
        patch.setattr(ToyScorer, "member_probabilities", fail)
        patch.setattr(ToyScorer, "member_answers", fail)
        with pytest.raises(Refusal) as refused:
            ask(service, toy, data, question)
    assert refused.value.code == "internal"
    assert "CUDA" not in str(refused.value)
    assert isinstance(refused.value.__cause__, RuntimeError)
    assert (service._drawings, service.batcher.present, service.slot.busy) == (0, 0, False)
    assert ask(service, toy, data, question).picture
    assert counted(service) == {"internal": 1, "explained": 1}


def test_a_warning_that_photograph_and_score_share_is_said_once(
    service: Service, toy: ToyScorer
) -> None:
    down, across = np.indices((240, 320))
    smooth = 120 + 60 * np.sin(across / 40) + 30 * np.sin(down / 30)
    squeezed = encoded(np.repeat(smooth[..., None], 3, axis=2).astype(np.uint8), "JPEG", quality=5)
    for question in (GRADCAM, LIME):
        explained = ask(service, toy, squeezed, question)
        assert explained.explanation.prediction.warnings == [STRONG]
        assert explained.prediction.warnings == [STRONG]


def test_what_is_known_of_the_whole_photograph_holds_for_its_explanation(
    service: Service, toy: ToyScorer
) -> None:
    """It is kept at 2,048 pixels, where the blocks of a strong compression are gone."""
    down, across = np.indices((900, 2 * KEPT_SIDE))
    smooth = 120 + 60 * np.sin(across / 40) + 30 * np.sin(down / 30)
    squeezed = encoded(np.repeat(smooth[..., None], 3, axis=2).astype(np.uint8), "JPEG", quality=5)
    plain = toy.score(squeezed)
    assert STRONG in plain.warnings
    photograph, _ = decode_to_draw(toy, squeezed)
    assert compression_warnings(photograph.pixels) == (), "else it shows nothing"
    for question in (GRADCAM, LIME):
        explained = ask(service, toy, squeezed, question).prediction
        assert explained.warnings == plain.warnings
        assert (explained.quality, explained.verdict) == (plain.quality, plain.verdict)


def test_a_large_photograph_has_one_explanation_whether_it_is_kept_whole_or_not(
    service: Service, toy: ToyScorer
) -> None:
    """Superpixels of what the service keeps, and of the photograph that a command has."""
    down, across = np.indices((1600, KEPT_SIDE + 500))
    rings = 120 + 60 * np.sin(np.hypot(down - 700, across - 1300) / 90) + 20 * np.sin(across / 31)
    data = encoded(np.stack([rings, rings - 30, rings - 50], axis=2).astype(np.uint8), "PNG")
    ours = ask(service, toy, data, LIME).explanation
    theirs = explain(toy, decode_image(data).pixels, LIME)
    assert isinstance(ours, LimeExplanation) and isinstance(theirs, LimeExplanation)
    assert np.array_equal(ours.segments, theirs.segments)
    assert np.array_equal(ours.weights, theirs.weights)


def test_an_answer_has_the_explanation_s_numbers_and_not_the_score_twice(
    toy: ToyScorer, service: Service, data: bytes
) -> None:
    prediction = toy.score(data)
    shared = {"target": "melanoma", "prediction": prediction, "folds": (0, 2), "fit": "center"}
    heat = GradcamExplanation(**shared, seconds=1.23456, heat=np.array([[0.0, 1.0], [0.5, 0.25]]))
    answer = answer_explanation(Explained(prediction, heat, b"\x89PNG"))
    assert isinstance(answer, GradcamAnswer)
    assert answer.model_dump(by_alias=True) == {
        "class": "melanoma",
        "folds": [0, 2],
        "seconds": 1.235,
        "picture": base64.b64encode(b"\x89PNG").decode(),
        "fit": "center",
        "method": "gradcam",
        "heat": [[0.0, 1.0], [0.5, 0.25]],
    }
    lime = LimeExplanation(
        **shared,
        seconds=2.0,
        precision="Low",
        evaluations=50,
        seed=3,
        segments=np.array([[0, 0, 1, 1], [0, 0, 1, 0]]),
        weights=np.array([0.5, -0.25]),
        intercept=0.1,
        r2=0.75,
    )
    answer = answer_explanation(Explained(prediction, lime, b""))
    assert isinstance(answer, LimeAnswer)
    assert [segment.model_dump() for segment in answer.segments] == [
        {"segment": 0, "weight": 0.5, "area": 0.625},
        {"segment": 1, "weight": -0.25, "area": 0.375},
    ]
    assert (answer.precision, answer.evaluations, answer.seed) == ("Low", 50, 3)
    assert (answer.intercept, answer.r2, answer.fit) == (0.1, 0.75, "center")
