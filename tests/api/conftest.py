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
from tiny_service import Served, start_service

from api.app import create_app
from api.settings import Settings
from melanoma.scoring.bundle.bundle import load_bundle
from melanoma.scoring.scorer import Scorer


@pytest.fixture(scope="session")
def pixels(photograph: bytes) -> Any:
    """Its pixels, (H, W, 3) uint8 RGB."""
    return np.asarray(Image.open(io.BytesIO(photograph)).convert("RGB"))


@pytest.fixture(scope="session")
def scorer(bundle_folder: Path) -> Scorer:
    return Scorer(load_bundle(bundle_folder))


@pytest.fixture
def app(scorer: Scorer) -> FastAPI:
    return create_app([scorer], Settings())


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, raise_server_exceptions=False) as client:
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
