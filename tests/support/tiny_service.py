"""What the tests of the service and of its page share: a tiny trained bundle, processes, bytes."""

from __future__ import annotations

import io
import os
import re
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import torch
from PIL import Image

from benchmarks.service_bundle import make_bundle
from melanoma.recipe.overrides import make_recipe
from melanoma.recipe.recipe import Recipe

ROOT = Path(__file__).resolve().parents[2]


def tiny_recipe() -> Recipe:
    """The least that learns: of a model that has not, calibration makes a constant."""
    return make_recipe(
        {
            "name": "tiny",
            "data": {"reader": "phantoms", "images": 200, "patients": 40, "size": 48},
            "image": {"size": 32},
            "folds": {"name": "tiny", "k": 2},
            "model": {"backbone": "resnet18"},
            "optimizer": {"name": "adam", "rate": 1e-3},
            "schedule": {"name": "one_cycle"},
            "training": {"epochs": 4, "batch_size": 10, "workers": 0, "precision": "float32"},
            "selection": {"keep": "last"},
            "evaluation": {"resamples": 100},
        }
    )


def train_bundle(base: Path) -> Path:
    """A sealed bundle of two ResNet-18 in `base`/weights, really trained, once a session."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # batches this small are slower on several
    weights = make_bundle(base, tiny_recipe())
    torch.set_num_threads(threads)
    return weights


class Served:
    """A service in its own process: its base address and the process."""

    def __init__(self, process: subprocess.Popen[str], address: str) -> None:
        self.process = process
        self.address = address
        self.port = int(address.rsplit(":", 1)[1])

    def socket(self) -> closing[socket.socket]:
        return closing(socket.create_connection(("127.0.0.1", self.port), timeout=20))


def run_command(
    *arguments: str, timeout: float = 60, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def start_service(folder: Path, log: Path, *, python: tuple[str, ...] = ()) -> Served:
    command = python or ("-m", "melanoma.serve")
    with log.open("w") as sink:
        process = subprocess.Popen(
            [sys.executable, *command, "--weights", str(folder), "--port", "0", "--device", "cpu"],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=sink,
            stderr=subprocess.STDOUT,
            text=True,
        )
    for _ in range(600):
        found = re.search(r"http://127\.0\.0\.1:\d+", log.read_text())
        if found:
            return Served(process, found[0])
        if process.poll() is not None:
            break
        time.sleep(0.1)
    process.kill()
    raise AssertionError(f"the service did not start: {log.read_text()}")


def encode(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def refused(reply: httpx.Response, status: int, code: str) -> str:
    """Check that this is a refusal in the one shape, and return its message."""
    assert reply.status_code == status, reply.text
    body = reply.json()
    assert body["success"] is False
    assert set(body) == {"success", "error"}
    assert set(body["error"]) == {"code", "message", "request_id"}
    assert body["error"]["code"] == code
    assert body["error"]["request_id"] == reply.headers["x-request-id"]
    message = str(body["error"]["message"])
    assert "Traceback" not in message
    assert not re.search(r"/(work|home|tmp|usr)/", message)
    assert len(message) > 10
    return message
