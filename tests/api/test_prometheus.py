"""What Prometheus reads: what was asked and answered, counted an application each."""

from __future__ import annotations

import base64
from dataclasses import asdict
from typing import Any

from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from tiny_service import refused

from api.app import create_app
from api.settings import Settings
from melanoma.scoring.scorer import Scorer


class Found:
    """What /metrics says."""

    def __init__(self, client: TestClient) -> None:
        reply = client.get("/metrics")
        assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
        self.text = reply.text
        self.samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(reply.text)
            for sample in family.samples
        }

    def __call__(self, name: str, **labels: str) -> float | None:
        return self.samples.get((f"melanoma_{name}", frozenset(labels.items())))


def test_the_metrics_count_what_was_asked_and_answered(fresh_client, fresh_app, photograph, scorer):
    client = fresh_client
    before = Found(client)
    assert before("photographs_total", model="tiny", outcome="scored") == 0
    assert before("ready") == 1
    unlabeled = ("name", "image_type")
    info = {key: str(value) for key, value in asdict(scorer.info()).items() if key not in unlabeled}
    assert before("bundle_info", model="tiny", **info) == 1
    files = {"file": photograph}
    for _ in range(3):
        assert client.post("/predict", files=files).status_code == 200
    client.post("/predict", files={"file": b"x"})
    client.post("/predict/batch", files=[("files", photograph), ("files", b"")])
    client.post("/explain", files=files)
    client.get("/secret/../nowhere<script>")
    client.get("/static/secret.js")
    fresh_app.state.service.batcher._present = 5
    after = Found(client)
    fresh_app.state.service.batcher._present = 0
    assert after("requests_total", route="/predict", code="200") == 3
    assert after("requests_total", route="/predict", code="415") == 1
    assert after("requests_total", route="/predict/batch", code="200") == 1
    assert after("requests_total", route="other", code="404") == 1
    assert after("requests_total", route="/static", code="404") == 1
    assert after("request_seconds_count", route="/predict") == 4
    assert 0 < (after("request_seconds_sum", route="/predict") or 0) < 60
    outcomes = {"scored": 4, "unsupported_format": 1, "empty_file": 1, "explained": 1}
    for outcome, count in outcomes.items():
        assert after("photographs_total", model="tiny", outcome=outcome) == count, outcome
    assert after("batch_size_sum", model="tiny") == 4
    assert after("explanation_seconds_count", model="tiny", method="gradcam") == 1
    assert after("queue_length") == 5
    assert "secret" not in after.text


def test_a_photograph_that_is_no_base64_is_counted_at_each_door(fresh_client, photograph):
    """As one that cannot be decoded is."""
    text, bad = base64.b64encode(photograph).decode(), "no base64!"
    patient = {"site": ["torso", "torso"]}
    for path, body, status in (
        ("/predict/batch", {"images": [bad, text]}, 200),
        ("/predict/batch", {"images": [bad, bad]}, 200),
        ("/predict/patient", {"images": [bad, text], **patient}, 200),
        ("/predict", {"image": bad}, 422),
        ("/explain", {"image": bad}, 422),
        ("/predict", {"picture": bad}, 422),  # no photograph
    ):
        assert fresh_client.post(path, json=body).status_code == status, path
    found = Found(fresh_client)
    for outcome, count in {"scored": 2, "bad_base64": 6}.items():
        assert found("photographs_total", model="tiny", outcome=outcome) == count, outcome


def test_a_failing_model_is_counted(fresh_client, photograph, monkeypatch):
    def fail(*_: Any) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(Scorer, "member_probabilities", fail)
    for path in ("/predict", "/explain"):
        refused(fresh_client.post(path, files={"file": photograph}), 500, "internal")
    found = Found(fresh_client)
    assert found("photographs_total", model="tiny", outcome="internal") == 2
    assert found("requests_total", route="/predict", code="500") == 1


def test_two_applications_count_apart(scorer, photograph):
    first, second = (create_app([scorer], Settings()) for _ in range(2))
    with TestClient(first) as one, TestClient(second) as two:
        one.post("/predict", files={"file": photograph})
        assert Found(one)("photographs_total", model="tiny", outcome="scored") == 1
        assert Found(two)("photographs_total", model="tiny", outcome="scored") == 0
