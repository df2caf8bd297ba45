"""What the tests of the service and of its page share: processes, bytes, refusals."""

from __future__ import annotations

import io
import os
import re
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import forked
import httpx
from forked import Forked
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]


class Served:
    """A service in its own process: its base address and the process."""

    def __init__(self, process: Forked, address: str) -> None:
        self.process = process
        self.address = address
        self.port = int(address.rsplit(":", 1)[1])

    def socket(self) -> closing[socket.socket]:
        return closing(socket.create_connection(("127.0.0.1", self.port), timeout=20))


def run_command(
    *arguments: str, timeout: float = 60, **environment: str
) -> subprocess.CompletedProcess[str]:
    return forked.run("-m", *arguments, timeout=timeout, environment={**os.environ, **environment})


def start_service(folder: Path, log: Path, *, python: tuple[str, ...] = ()) -> Served:
    command = python or ("-m", "melanoma.serve")
    options = ("--weights", str(folder), "--port", "0", "--device", "cpu")
    with log.open("w") as sink:
        process = forked.start(*command, *options, log=sink)
    for _ in range(3000):
        found = re.search(r"http://127\.0\.0\.1:\d+", log.read_text())
        if found:
            return Served(process, found[0])
        if process.poll() is not None:
            break
        time.sleep(0.02)
    process.kill()
    raise AssertionError(f"the service did not start: {log.read_text()}")


# A service whose scores wait for a file: what happens meanwhile is an order, and no time.
HELD = """
import time
from pathlib import Path
from melanoma import serve, terminal
from melanoma.scoring.scorer import Scorer
score = Scorer.member_probabilities
def held(self, squares):
    while not Path({go!r}).exists():
        time.sleep(0.02)
    return score(self, squares)
Scorer.member_probabilities = held
terminal.run(serve.app)
"""


def wait_until(happened: Callable[[], bool], what: str, *, seconds: float = 120) -> None:
    """Return when it has happened; the bound is many times what it takes."""
    until = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < until, f"waited in vain until {what}"
        time.sleep(0.02)


def wait_for_queue(served: Served, length: int) -> None:
    """Return when the service has accepted so many photographs and answered none of them."""
    line = f"melanoma_queue_length {length:.1f}"
    wait_until(
        lambda: line in httpx.get(f"{served.address}/metrics", timeout=60).text.splitlines(),
        f"{length} photographs are in the queue",
    )


def encode(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def refused(reply: httpx.Response, status: int, code: str) -> str:
    """Check that this is a refusal in the one shape, and return its message."""
    assert reply.status_code == status, reply.text
    body = reply.json()
    assert body["success"] is False
    assert set(body) == {"success", "error", "detail"}
    assert set(body["error"]) == {"code", "message", "request_id"}
    assert body["error"]["code"] == code
    assert body["error"]["request_id"] == reply.headers["x-request-id"]
    message = str(body["error"]["message"])
    assert body["detail"] == message
    assert "Traceback" not in message
    assert not re.search(r"/(work|home|tmp|usr)/", message)
    assert len(message) > 10
    return message
