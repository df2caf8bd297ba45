"""Scoring stays off the event loop, one at a time, with a bounded number waiting."""

from __future__ import annotations

import asyncio
import threading

import httpx
import pytest
from fastapi.testclient import TestClient
from tiny_service import refused

from api.app import create_app
from api.settings import Settings
from melanoma.errors import RecipeError
from melanoma.scoring.scorer import Scorer


class Blocked(Scorer):
    """A scorer that waits to be let go, and counts how many batches are inside."""

    def __init__(self, bundle):
        super().__init__(bundle)
        self.go = threading.Event()
        self.inside = self.most = 0

    def member_probabilities(self, squares):
        self.inside += 1
        self.most = max(self.most, self.inside)
        assert self.go.wait(300)
        try:
            return super().member_probabilities(squares)
        finally:
            self.inside -= 1


def test_beyond_the_queue_requests_are_refused_while_the_loop_stays_free(scorer, photograph):
    blocked = Blocked(scorer.bundle)
    app = create_app([blocked], Settings(queue=2))

    async def scenario():
        transport = httpx.ASGITransport(app)
        # The lifespan too: before the golden score is given nothing is scored.
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://here") as client,
        ):
            files = {"file": photograph}
            first = [asyncio.create_task(client.post("/predict", files=files)) for _ in range(3)]
            while app.state.service.batcher.present < 3:
                await asyncio.sleep(0.01)
            assert (await client.get("/healthz")).status_code == 200
            excess = [await client.post("/predict", files=files) for _ in range(3)]
            assert not any(task.done() for task in first)
            blocked.go.set()
            return (
                await asyncio.gather(*first),
                excess,
                await client.post("/predict", files=files),
            )

    accepted, excess, afterwards = asyncio.run(scenario())
    assert [reply.status_code for reply in accepted] == [200, 200, 200]
    assert blocked.most == 1, "two batches ran at once"
    for reply in excess:
        refused(reply, 503, "busy")
        assert int(reply.headers["retry-after"]) >= 1
    assert afterwards.status_code == 200


def test_a_full_queue_refuses_before_the_upload_is_read(scorer, photograph):
    app = create_app([scorer], Settings(queue=0))
    with TestClient(app) as client:
        app.state.service.batcher._present = 1
        unread = b"this is not even a form"
        headers = {"content-type": "multipart/form-data"}
        refused(client.post("/predict", content=unread, headers=headers), 503, "busy")


def test_a_refused_photograph_leaves_its_place_in_the_queue(scorer, photograph):
    with TestClient(create_app([scorer], Settings(queue=0))) as client:
        for _ in range(3):
            refused(client.post("/predict", files={"file": b"x"}), 415, "unsupported_format")
        assert client.post("/predict", files={"file": photograph}).status_code == 200


def test_two_bundles_of_one_name_or_none_at_all_are_refused(scorer):
    for scorers in ([], [scorer, scorer]):
        with pytest.raises(RecipeError):
            create_app(scorers, Settings())
