"""Replicas behind nginx: one that dies or leaves loses no request that can be asked again."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from front import Front
from tiny_service import HELD, Served, start_service, wait_until


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_what_is_in_flight_on_a_replica_that_ends_is_answered(
    number: signal.Signals,
    served: Served,
    bundle_folder: Path,
    photograph: bytes,
    start_front: Callable[..., Front],
    tmp_path: Path,
) -> None:
    # Its scores wait for a file: what it has in flight is there when the signal comes.
    code = HELD.format(go=str(tmp_path / "go"))
    held = start_service(bundle_folder, tmp_path / "log", python=("-c", code))
    try:
        front = start_front([held.port, served.port])

        def ask(_: int = 0) -> httpx.Response:
            return httpx.post(f"{front.address}/predict", files={"file": photograph}, timeout=60)

        with ThreadPoolExecutor(4) as pool:
            replies = [pool.submit(ask) for _ in range(4)]
            # The other one has answered all of its own; what is left waits here.
            wait_until(
                lambda: 0 < queued(held) == sum(not one.done() for one in replies),
                "the rest waits in the one that is held",
            )
            held.process.send_signal(number)
            if number == signal.SIGTERM:
                wait_until(lambda: not answers(held), "it takes no more connections")
                (tmp_path / "go").touch()
            codes = [one.result().status_code for one in replies]
        assert codes == [200] * 4
        assert held.process.wait(timeout=20) == (0 if number == signal.SIGTERM else -9)
        # Who comes later does not notice that one is gone.
        assert [ask().status_code for _ in range(4)] == [200] * 4
    finally:
        held.process.kill()
        held.process.wait()


def queued(served: Served) -> int:
    """The photographs that it has accepted and not answered."""
    text = httpx.get(f"{served.address}/metrics", timeout=60).text
    found = re.search(r"^melanoma_queue_length (\d+)", text, re.MULTILINE)
    assert found, text
    return int(found[1])


def answers(served: Served) -> bool:
    try:
        with served.socket():
            return True
    except OSError:
        return False
