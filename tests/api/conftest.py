"""The service over the small bundle, in this process and in one of its own."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image
from pydantic import BaseModel
from pydantic.config import ExtraValues
from tiny_service import Served, start_service

from api import responses, responses_info
from api.app import create_app
from api.settings import Settings
from melanoma.scoring.bundle.bundle import load_bundle
from melanoma.scoring.explain.explainer_catalog import EXPLAINERS
from melanoma.scoring.scorer import Scorer


@pytest.fixture(scope="session", autouse=True)
def no_answer_drops_a_field() -> Iterator[None]:
    """In the tests an answer refuses what its model does not name.

    A field that is forgotten in api.responses would be left out of the answer and of the OpenAPI
    page, without a word; here it is a 500. A running service leaves it out, as it should.
    """
    named = {**vars(responses), **vars(responses_info)}
    models = [model for model in named.values() if _is_model(model)]
    models += [entry.answer for entry in EXPLAINERS.values()]

    def build(extra: ExtraValues | None) -> None:
        # Twice: a model holds the schemas of its parts as they were when it was built.
        for model in [*models, *models]:
            model.model_config["extra"] = extra
            model.model_rebuild(force=True)

    build("forbid")
    yield
    build("ignore")


def _is_model(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, BaseModel) and value is not BaseModel


@pytest.fixture(scope="module", autouse=True)
def _quick_pictures(few_superpixels: None) -> Iterator[None]:
    """Where superpixels lie and how large a picture is, tests/scoring/explain see."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("melanoma.scoring.explain.pictures._DPI", 40)
        yield


@pytest.fixture(scope="session")
def pixels(photograph: bytes) -> Any:
    """Its pixels, (H, W, 3) uint8 RGB."""
    return np.asarray(Image.open(io.BytesIO(photograph)).convert("RGB"))


@pytest.fixture(scope="session")
def scorer(bundle_folder: Path) -> Scorer:
    return Scorer(load_bundle(bundle_folder))


@pytest.fixture(scope="module")
def client(scorer: Scorer) -> Iterator[TestClient]:
    """The service that a module's tests ask: what one of them is counted for stays counted."""
    app = create_app([scorer], Settings())
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def fresh_app(scorer: Scorer) -> FastAPI:
    return create_app([scorer], Settings())


@pytest.fixture
def fresh_client(fresh_app: FastAPI) -> Iterator[TestClient]:
    """A test's own service, for what looks at its counters or changes its state."""
    with TestClient(fresh_app, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def damaged_bundle(bundle_folder: Path, tmp_path: Path) -> Path:
    """A copy of the bundle with one bit of fold 1's weights flipped."""
    folder = tmp_path / "damaged"
    shutil.copytree(bundle_folder, folder)
    weights = folder / "fold_1" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(data)
    return folder


@pytest.fixture
def service(bundle_folder: Path, tmp_path: Path) -> Iterator[Served]:
    served = start_service(bundle_folder, tmp_path / "log")
    yield served
    served.process.kill()
    served.process.wait()


Post = Callable[[bytes], httpx.Response]


@pytest.fixture
def post(client: TestClient) -> Post:
    """Send bytes as the field `file`."""

    def send(data: bytes) -> httpx.Response:
        return client.post("/predict", files={"file": ("photo", data)})

    return send
