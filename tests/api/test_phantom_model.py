"""A model that was trained on drawings says so, and scores an upload only where it is named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from tiny_service import refused

from api.app import create_app
from api.settings import Settings
from melanoma.scoring.bundle.bundle import load_bundle
from melanoma.scoring.scorer import Scorer


@pytest.fixture(scope="module")
def client(bundle_folder: Path) -> TestClient:
    """The tiny bundle as if its recipe had the reader phantoms, then one of photographs."""
    bundle = load_bundle(bundle_folder)
    drawn = replace(bundle, phantoms=True)
    both = [Scorer(drawn), Scorer(replace(bundle, name="photographs"))]
    with TestClient(create_app(both, Settings(lime_seconds=600))) as found:
        yield found


@pytest.mark.parametrize("path", ["/predict", "/predict/batch", "/explain"])
def test_an_upload_that_names_no_model_is_refused(
    client: TestClient, photograph: bytes, path: str
) -> None:
    reply = client.post(path, files={"file": photograph})
    assert "?model=tiny" in refused(reply, 422, "trained_on_drawings")


def test_where_it_is_named_it_answers_and_says_what_it_is(
    client: TestClient, photograph: bytes
) -> None:
    reply = client.post("/predict?model=tiny", files={"file": photograph})
    assert "trained_on_drawings" in reply.json()["warnings"]
    other = client.post("/predict?model=photographs", files={"file": photograph})
    assert "trained_on_drawings" not in other.json()["warnings"]


def test_info_tells_which_is_which(client: TestClient) -> None:
    models = client.get("/info").json()["models"]
    assert [model["phantoms"] for model in models] == [True, False]
