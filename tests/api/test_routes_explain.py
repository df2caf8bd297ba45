"""What /explain and /predict with explain answer, and that it is what the library says."""

from __future__ import annotations

import base64
import io
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families
from tiny_service import Served, encode, refused, start_service
from toy_scorer import Box, make_scorer, read_boxes

from api import explanation_costs
from api.app import create_app
from api.settings import Settings
from melanoma.scoring.bundle.bundle import load_bundle
from melanoma.scoring.explain.explainers import explain_gradcam, explain_lime
from melanoma.scoring.scorer import Scorer

LOW = {"method": "lime", "precision": "Low"}


def explained(client: TestClient, data: bytes, path: str = "/explain", **fields: Any) -> Any:
    reply = client.post(path, files={"file": ("photo", data)}, data=fields)
    assert reply.status_code == 200, reply.text
    return reply.json()


def png_of(explanation: Any) -> Image.Image:
    image = Image.open(io.BytesIO(base64.b64decode(explanation["picture"], validate=True)))
    assert image.format == "PNG"
    return image.convert("RGB")


def test_gradcam_is_answered_by_default_with_its_numbers(client, photograph, pixels, scorer):
    answer = explained(client, photograph)
    ours = explain_gradcam(scorer, pixels)
    explanation = answer["explanation"]
    assert (explanation["method"], explanation["class"]) == ("gradcam", ours.target)
    np.testing.assert_allclose(explanation["heat"], ours.heat, atol=1e-5)
    assert explanation["folds"] == [0, 1]
    assert explanation["fit"] == scorer.bundle.fit
    png_of(explanation)
    assert set(answer) == {
        "success", "explanation", "prediction", "request_id", "milliseconds", "disclaimer",
    }  # fmt: skip
    assert set(answer["prediction"]) == set(scorer.score(photograph).as_dict())


def test_lime_is_the_librarys_and_its_seed_decides(client, photograph, pixels, scorer):
    first = explained(client, photograph, **LOW, seed="3")["explanation"]
    again = explained(client, photograph, **LOW, seed="3")["explanation"]
    other = explained(client, photograph, **LOW, seed="4")["explanation"]
    ours = explain_lime(scorer, pixels, precision="Low", seed=3)
    assert (first["evaluations"], first["seed"], first["precision"]) == (50, 3, "Low")
    assert [s["weight"] for s in first["segments"]] == pytest.approx(ours.weights, abs=1e-4)
    assert [s["area"] for s in first["segments"]] == pytest.approx(ours.areas)
    assert [s["segment"] for s in first["segments"]] == list(range(len(ours.weights)))
    assert first["r2"] == pytest.approx(ours.r2, abs=1e-3)
    assert first["intercept"] == pytest.approx(ours.intercept, abs=1e-4)
    assert again["segments"] == first["segments"]
    assert again["picture"] == first["picture"]
    assert other["segments"] != first["segments"]


def test_the_explained_score_is_the_score(client, photograph, scorer):
    wanted = scorer.score(photograph).melanoma_probability
    for fields in ({}, LOW):
        answer = explained(client, photograph, **fields)["prediction"]
        assert answer["melanoma_probability"] == pytest.approx(wanted, abs=1e-5)
    answer = explained(client, photograph, "/predict", explain="true", precision="Low")
    assert answer["melanoma_probability"] == pytest.approx(wanted, abs=1e-5)


def test_the_original_form_of_a_request_for_an_explained_prediction_works(client, photograph):
    body = {"image": base64.b64encode(photograph).decode(), "explain": True, "precision": "Low"}
    answer = client.post("/predict", json=body).json()
    assert answer["success"] is True
    assert 0 < answer["probability"] <= 1
    assert answer["prediction"] in answer["by_class"]
    assert answer["explanation"]["method"] == "lime"
    assert answer["explanation"]["evaluations"] == 50
    png_of(answer["explanation"])
    form = explained(client, photograph, "/predict", explain="true", precision="Low")
    assert form["explanation"]["segments"] == answer["explanation"]["segments"]


def test_without_explain_its_fields_change_nothing(client, photograph):
    for fields in ({}, {"explain": "false"}, {"explain": "false", "precision": "High"}):
        assert explained(client, photograph, "/predict", **fields)["explanation"] is None


# One output for each class: benign is read from the left half, melanoma from the right.
HALVES = {"benign": Box(0, 0, 1, 0.5), "melanoma": Box(0, 0.5, 1, 1)}


def test_a_class_is_explained_by_its_name(photograph):
    toy = make_scorer([read_boxes([*HALVES.values()])])
    with TestClient(create_app([toy], Settings())) as client:
        for name, half in HALVES.items():
            explanation = explained(client, photograph, **{"class": name})["explanation"]
            assert explanation["class"] == name
            heat = np.array(explanation["heat"])
            inside = half.mask(*heat.shape)
            assert heat[inside].sum() > 100 * heat[~inside].sum(), name


def test_a_caller_that_accepts_png_gets_the_bare_picture(client, photograph):
    files = {"file": photograph}
    reply = client.post("/explain", files=files, headers={"accept": "image/png"})
    assert reply.headers["content-type"] == "image/png"
    assert len(reply.headers["x-request-id"]) == 32
    picture = explained(client, photograph)["explanation"]["picture"]
    assert reply.content == base64.b64decode(picture)
    for accept in ("*/*", "application/json", "image/png, application/json", "text/html"):
        reply = client.post("/explain", files=files, headers={"accept": accept})
        assert reply.headers["content-type"] == "application/json", accept
    reply = client.post("/explain", files={"file": b"x"}, headers={"accept": "image/png"})
    refused(reply, 415, "unsupported_format")


WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "a precision": ({**LOW, "precision": "Enormous"}, "invalid_field", "Low (50), Medium (200)"),
    "a number of samples": ({**LOW, "n_samples": 10**9}, "unknown_field", "precision"),
    "a negative seed": ({**LOW, "seed": -1}, "invalid_field", "from 0 to 4294967295"),
    "a huge seed": ({**LOW, "seed": 2**32}, "invalid_field", "from 0 to 4294967295"),
    "a seed beyond all numbers": ({**LOW, "seed": 10**40}, "invalid_field", "whole number"),
    "a word as seed": ({**LOW, "seed": "x"}, "invalid_field", "whole number"),
    "a broken seed": ({**LOW, "seed": 1.5}, "invalid_field", "whole number"),
    "a method": ({"method": "shap"}, "invalid_field", "gradcam or lime"),
    "a class": ({**LOW, "class": "<b>mole</b>"}, "invalid_field", "benign, melanoma"),
    "lime's field without lime": ({"method": "gradcam", "seed": 1}, "invalid_field", "lime"),
}


@pytest.mark.parametrize("what", WRONG)
@pytest.mark.parametrize("path", ["/explain", "/predict"])
def test_what_cannot_be_explained_is_refused_with_what_can(client, photograph, path, what):
    fields, code, word = WRONG[what]
    explain = {"explain": True} if path == "/predict" else {}
    body = {"image": base64.b64encode(photograph).decode(), **explain, **fields}
    message = refused(client.post(path, json=body), 422, code)
    assert word in message
    assert "<b>" not in message
    texts = {name: "true" if value is True else str(value) for name, value in fields.items()}
    texts |= dict.fromkeys(explain, "true")
    reply = client.post(path, files={"file": photograph}, data=texts)
    assert word in refused(reply, 422, code)


def test_gradcam_by_default_takes_no_precision(client, photograph):
    reply = client.post("/explain", files={"file": photograph}, data={"precision": "Low"})
    assert "lime" in refused(reply, 422, "invalid_field")


def test_a_form_with_more_than_it_may_have_is_refused(client, photograph):
    both = {"file": photograph}
    for path in ("/explain", "/predict"):
        twice = {"method": ["lime", "gradcam"]}
        refused(client.post(path, files=both, data=twice), 422, "invalid_field")
        refused(client.post(path, files=both, data={"url": "http://a"}), 422, "unknown_field")
        files = [("file", photograph), ("method", ("m", b"lime"))]
        reply = client.post(path, files=files)
        refused(reply, 422, reply.json()["error"]["code"])
    refused(client.post("/explain", files=both, data={"explain": "true"}), 422, "unknown_field")
    refused(client.post("/explain", data={"file": "x"}), 422, "missing_file")
    refused(client.post("/explain?model=nobody", files=both), 404, "unknown_model")
    refused(client.post("/explain?class=benign", files=both), 422, "unknown_field")


def test_what_the_decoder_refuses_is_not_explained(client, photograph):
    for fields in ({}, LOW):
        for data, status, code in (
            (b"", 422, "empty_file"),
            (b"text", 415, "unsupported_format"),
            (photograph[: len(photograph) // 2], 422, "corrupt_image"),
        ):
            refused(client.post("/explain", files={"file": data}, data=fields), status, code)


def test_a_warning_about_the_photograph_is_kept(client, pixels):
    first, second = Image.fromarray(pixels), Image.fromarray(255 - pixels)
    data = encode(first, "PNG", save_all=True, append_images=[second])
    for fields in ({}, LOW):
        assert explained(client, data, **fields)["prediction"]["warnings"] == ["multi_frame"]


def test_lime_ends_at_its_deadline(scorer, photograph):
    app = create_app([scorer], Settings(lime_seconds=1e-6))
    with TestClient(app) as client:
        client.get("/info")  # waits until it was timed
        app.state.service.costs._each.clear()  # nothing says that it cannot fit
        reply = client.post("/explain", files={"file": photograph}, data=LOW)
        assert "deadline" in refused(reply, 503, "deadline")
        # Grad-CAM has none, and the slot is free again.
        assert client.post("/explain", files={"file": photograph}).status_code == 200
        refused(client.post("/explain", files={"file": photograph}, data=LOW), 503, "deadline")


def test_what_cannot_end_within_the_deadline_is_neither_offered_nor_begun(
    scorer, photograph, monkeypatch
):
    # A hundredth of a minute more than a minute for 1,000 evaluations, whatever the machine.
    monkeypatch.setattr(explanation_costs, "time_evaluation", lambda _: 0.06)
    files = {"file": photograph}
    with TestClient(create_app([scorer], Settings())) as client:
        (model,) = client.get("/info").json()["models"]
        told = model["explanations"]
        assert told["deadline_seconds"] == 60
        assert {name: cost["samples"] for name, cost in told["precision"].items()} == {
            "Low": 50,
            "Medium": 200,
        }
        assert told["precision"]["Medium"]["expected_seconds"] == pytest.approx(13)
        assert list(model["explain"]["precisions"]) == ["Low", "Medium"]
        assert model["explain"]["methods"] == ["gradcam", "lime"]
        monkeypatch.setattr(
            "melanoma.scoring.explain.explainers.explain_lime", None
        )  # it would be a 500
        for path, more in (("/explain", {"method": "lime"}), ("/predict", {"explain": "true"})):
            fields = {**more, "precision": "High"}
            message = refused(client.post(path, files=files, data=fields), 422, "does_not_fit")
            assert "about 61 seconds" in message
            assert "ask for Low or Medium" in message
    monkeypatch.setattr(explanation_costs, "time_evaluation", lambda _: 10.0)
    with TestClient(create_app([scorer], Settings())) as client:
        (model,) = client.get("/info").json()["models"]
        quick = {"method": "gradcam", "title": "Grad-CAM", "options": []}
        offered = {"methods": ["gradcam"], "choices": [quick], "precisions": {}}
        assert model["explain"] == offered
        message = refused(client.post("/explain", files=files, data=LOW), 422, "does_not_fit")
        assert "gradcam" in message
        assert client.post("/explain", files=files).status_code == 200


def test_lime_that_cannot_be_timed_keeps_nobody_from_a_score(scorer, photograph, monkeypatch):
    def fail(_: Scorer) -> float:
        raise RuntimeError("no")

    monkeypatch.setattr(explanation_costs, "time_evaluation", fail)
    with TestClient(create_app([scorer], Settings())) as client:
        assert client.post("/predict", files={"file": photograph}).status_code == 200
        costs = client.get("/info").json()["models"][0]["explanations"]["precision"]
        assert {cost["expected_seconds"] for cost in costs.values()} == {None}
        assert len(costs) == 3


def test_while_lime_runs_only_lime_is_refused(fresh_client, fresh_app, photograph):
    client, app = fresh_client, fresh_app
    files = {"file": photograph}
    assert app.state.service.slot._taken.acquire(blocking=False)
    reply = client.post("/explain", files=files, data=LOW)
    refused(reply, 503, "busy")
    assert int(reply.headers["retry-after"]) >= 1
    refused(client.post("/predict", files=files, data={"explain": "true"}), 503, "busy")
    assert client.post("/explain", files=files).status_code == 200
    assert client.post("/predict", files=files).status_code == 200
    app.state.service.slot._taken.release()
    assert client.post("/explain", files=files, data=LOW).status_code == 200


def test_beyond_the_places_gradcam_is_refused_before_anything_is_decoded(
    fresh_client, fresh_app, photograph
):
    client, app = fresh_client, fresh_app
    app.state.service._drawings = app.state.service._most_drawings
    reply = client.post("/explain", files={"file": b"x"})
    refused(reply, 503, "busy")
    app.state.service._drawings = 0
    assert client.post("/explain", files={"file": photograph}).status_code == 200
    assert app.state.service._drawings == 0


@pytest.mark.parametrize("fields", [{}, LOW], ids=["gradcam", "lime"])
def test_a_failing_model_costs_one_explanation(client, photograph, monkeypatch, caplog, fields):
    def fail(*_: Any) -> None:
        raise RuntimeError("CUDA out of memory at /srv/secret")

    files = {"file": photograph}
    with monkeypatch.context() as patch:
        patch.setattr(Scorer, "member_probabilities", fail)
        reply = client.post("/explain", files=files, data=fields)
    assert "CUDA" not in refused(reply, 500, "internal")
    assert reply.json()["error"]["request_id"] in caplog.text
    assert "CUDA out of memory" in caplog.text
    assert client.post("/explain", files=files, data=fields).status_code == 200


def test_a_score_that_is_no_number_is_never_explained(bundle_folder: Path, photograph):
    scorer = Scorer(load_bundle(bundle_folder))
    with TestClient(create_app([scorer], Settings()), raise_server_exceptions=False) as client:
        # After the start, where the golden score would have closed every route.
        with torch.no_grad():
            next(iter(scorer.classifiers[0].parameters())).fill_(float("nan"))
        for fields in ({}, LOW):
            reply = client.post("/explain", files={"file": photograph}, data=fields)
            refused(reply, 500, "non_finite_score")
            assert "NaN" not in reply.text


def test_info_gives_the_time_of_an_explanation_before_the_first_and_as_it_took(
    fresh_client, photograph
):
    client = fresh_client

    def costs() -> Any:
        return client.get("/info").json()["models"][0]["explain"]["precisions"]

    assert {name: cost["evaluations"] for name, cost in costs().items()} == {
        "Low": 50,
        "Medium": 200,
        "High": 1000,
    }
    before = costs()
    assert 0 < before["Low"]["seconds"] < before["Medium"]["seconds"] < before["High"]["seconds"]
    explained(client, photograph, **LOW)
    assert costs()["Low"]["seconds"] > 0
    assert costs()["High"]["seconds"] == pytest.approx(20 * costs()["Low"]["seconds"])


SLOW = """
import time
from melanoma import serve, terminal
from melanoma.scoring.scorer import Scorer
ask = Scorer.member_probabilities
def slowly(self, squares):
    with open({asked!r}, "a") as file:
        file.write(".")
    time.sleep(0.2)
    return ask(self, squares)
Scorer.member_probabilities = slowly
terminal.run(serve.app)
"""


@pytest.fixture
def slow_service(bundle_folder: Path, tmp_path: Path) -> Any:
    code = SLOW.format(asked=str(tmp_path / "asked"))
    served = start_service(bundle_folder, tmp_path / "log", python=("-c", code))
    yield served
    served.process.kill()
    served.process.wait()


def _count(served: Served, outcome: str) -> float:
    text = httpx.get(f"{served.address}/metrics", timeout=20).text
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "melanoma_photographs_total" and sample.labels["outcome"] == outcome
    )


def test_lime_stops_when_its_caller_leaves(slow_service, photograph, tmp_path):
    image = base64.b64encode(photograph).decode()
    body = f'{{"image": "{image}", "method": "lime", "precision": "High"}}'.encode()
    head = (
        b"POST /explain HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n" % len(body)
    )
    batches = tmp_path / "asked"
    with slow_service.socket() as connection:
        connection.sendall(head + body)
        until = time.monotonic() + 60
        while not (batches.exists() and batches.stat().st_size > 2) and time.monotonic() < until:
            time.sleep(0.05)
        _ask_lime(slow_service, photograph)  # refused, for the first has begun
        assert _count(slow_service, "client_gone") == 0
    # Counted in batches of a fifth of a second: on a busy machine a clock measures the machine.
    asked, until = batches.stat().st_size, time.monotonic() + 60
    while _count(slow_service, "client_gone") == 0 and time.monotonic() < until:
        time.sleep(0.02)
    assert _count(slow_service, "client_gone") == 1
    assert batches.stat().st_size - asked <= 5, "the work went on without its caller"


def _ask_lime(served: Served, photograph: bytes) -> None:
    files = {"file": photograph}
    reply = httpx.post(f"{served.address}/explain", files=files, data=LOW, timeout=60)
    assert reply.status_code == 503, "the first had not begun, and this one was explained"
