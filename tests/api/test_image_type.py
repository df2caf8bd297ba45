"""What pictures a bundle is for stands in /info and in every answer, with no warning of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from api.settings import Settings
from melanoma.scoring.bundle.bundle import load_bundle
from melanoma.scoring.scorer import Scorer


@pytest.fixture(scope="module")
def client(bundle_folder: Path) -> TestClient:
    """The tiny bundle as if its recipe were for dermatoscopes, then one for any picture."""
    bundle = load_bundle(bundle_folder)
    only = replace(bundle, image_type="dermatoscope")
    both = [Scorer(only), Scorer(replace(bundle, name="any"))]
    with TestClient(create_app(both, Settings())) as found:
        yield found


def test_info_tells_which_is_for_what(client: TestClient) -> None:
    models = client.get("/info").json()["models"]
    assert [model["image_type"] for model in models] == ["dermatoscope", "any"]


@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
def test_every_answer_says_it_without_a_warning(
    client: TestClient, photograph: bytes, path: str
) -> None:
    files = {"files" if path.endswith("batch") else "file": photograph}
    for name, said in (("tiny", "dermatoscope"), ("any", "any")):
        answer = client.post(f"{path}?model={name}", files=files).json()
        assert answer["model"]["image_type"] == said
        one = answer["results"][0] if "results" in answer else answer
        assert one["model"]["image_type"] == said
        assert one["warnings"] == []
