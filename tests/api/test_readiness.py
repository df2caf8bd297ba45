"""Ready: when every bundle gives its golden score, and not after SIGTERM."""

from __future__ import annotations

import asyncio
import dataclasses
import signal
import threading

import httpx
import pytest
import torch
from fastapi.testclient import TestClient
from tiny_service import refused

from api import explanation_costs
from api.app import create_app
from api.settings import Settings
from melanoma.devices import CPU
from melanoma.evaluation.report.schema_rounding import Rounding
from melanoma.scoring.backends.torch_members import load_members
from melanoma.scoring.scorer import Scorer


def test_ready_means_that_every_bundle_gave_its_golden_score(scorer):
    app = create_app([scorer], Settings())
    cold = TestClient(app)  # without `with` nothing is checked
    assert cold.get("/healthz").status_code == 200
    reply = cold.get("/readyz")
    assert reply.status_code == 503
    assert reply.json() == {"ready": False, "state": "starting", "bundles": {}}
    with TestClient(app) as warm:
        reply = warm.get("/readyz")
        assert reply.status_code == 200
        assert reply.json()["ready"] is True
        assert "golden score holds" in reply.json()["bundles"]["tiny"]


def test_a_service_whose_scores_are_others_than_sealed_is_not_ready_and_gives_none(
    scorer, photograph, caplog
):
    other = Scorer(dataclasses.replace(scorer.bundle, name="other", normalize="half"))
    with TestClient(create_app([scorer, other], Settings())) as client:
        reply = client.get("/readyz")
        assert (reply.status_code, reply.json()["state"]) == (503, "failed")
        assert "differ" in reply.json()["bundles"]["other"]
        assert "holds" in reply.json()["bundles"]["tiny"]
        assert client.get("/healthz").status_code == 200
        files = {"file": photograph}
        refused(client.post("/predict?model=other", files=files), 503, "not_ready")
        assert client.post("/predict?model=tiny", files=files).status_code == 200
    assert "other: the golden logits differ" in caplog.text


def test_scores_in_bfloat16_are_told_of_in_the_log_and_in_info(scorer, caplog):
    half = scorer.on(load_members(scorer.bundle, CPU).in_precision(torch.bfloat16))
    with TestClient(create_app([half], Settings())) as client:
        assert client.get("/readyz").status_code == 200
        assert client.get("/info").json()["models"][0]["bfloat16"] is None
    assert (
        "tiny: bfloat16: what it changes of this bundle's answers was not measured" in caplog.text
    )
    changes = {"backend": "torch", "images": 80, "auroc": 0.9, "auroc_change": -0.002}
    changes |= {"largest_change": 0.01, "member_change": 0.02}
    changes |= {"images_above": 0, "flags_turned": 2}
    measured = Rounding.model_validate(changes)
    report = scorer.bundle.report.model_copy(update={"bfloat16": measured})
    half.bundle = dataclasses.replace(scorer.bundle, report=report)
    with TestClient(create_app([half], Settings())) as client:
        assert client.get("/info").json()["models"][0]["bfloat16"] == {**changes, "holds": False}
    assert "tiny: bfloat16: on 80 held-out images a probability changes by 0.010" in caplog.text


def test_after_sigterm_it_is_no_longer_ready_and_the_servers_own_handler_is_called(scorer):
    app = create_app([scorer], Settings())
    served: list[int] = []

    def servers_own(number, frame):
        del frame
        served.append(number)

    async def scenario():
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://here") as client,
        ):
            assert (await client.get("/readyz")).status_code == 200
            signal.raise_signal(signal.SIGTERM)
            reply = await client.get("/readyz")
            assert (reply.status_code, reply.json()["state"]) == (503, "leaving")
            assert (await client.get("/healthz")).status_code == 200

    before = signal.signal(signal.SIGTERM, servers_own)
    try:
        asyncio.run(scenario())
        assert served == [signal.SIGTERM]
        assert signal.getsignal(signal.SIGTERM) is servers_own, "left as it was found"
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("state", ["starting", "failed"])
def test_a_service_that_was_told_to_end_never_becomes_ready(scorer, state):
    app = create_app([scorer], Settings())
    app.state.service.readiness.state = state
    app.state.service.readiness.leave()
    with TestClient(app) as client:
        assert client.get("/readyz").json()["state"] == "leaving"


def test_a_service_is_ready_before_lime_was_timed(scorer, monkeypatch):
    ready = threading.Event()

    def wait(_: Scorer) -> float:
        assert ready.wait(10)
        return 0.01

    monkeypatch.setattr(explanation_costs, "time_evaluation", wait)
    with TestClient(create_app([scorer], Settings())) as client:
        assert client.get("/readyz").status_code == 200
        ready.set()
        (model,) = client.get("/info").json()["models"]
        assert model["explanations"]["precision"]["Low"]["expected_seconds"] == pytest.approx(1.5)
