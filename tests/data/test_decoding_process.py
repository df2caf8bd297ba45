"""Decoding in a child: the same answers, and no more than one photograph lost by what it meets."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import psutil
import pytest
from image_bytes import encoded
from PIL import Image

from melanoma.data import decoding_process
from melanoma.data.decoding_process import DecodeRequest, DecodingProcesses, _ask, decode_here
from melanoma.errors import ImageError

WANTED = DecodeRequest(32, "center", kept=60)
SCENE = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
STARTS_ONE = """
import os, sys
from melanoma.data.decoding_process import DecodingProcesses
pool = DecodingProcesses(1)
pool.warm()
print(pool._idle[0].process.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def shared() -> Iterator[DecodingProcesses]:
    processes = DecodingProcesses(1)
    yield processes
    _end(processes)


@pytest.fixture
def processes() -> Iterator[DecodingProcesses]:
    processes = DecodingProcesses(1)
    yield processes
    _end(processes)


def _end(processes: DecodingProcesses) -> None:
    for child in processes._idle:
        child.end()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("wanted", [WANTED, WANTED._replace(fit="squash", kept=None)])
def test_a_child_answers_as_the_decoder_here_does(
    shared: DecodingProcesses, kind: str, wanted: DecodeRequest
) -> None:
    data = encoded(SCENE, kind)
    found, expected = shared.decode(data, wanted), decode_here(data, wanted)
    assert np.array_equal(found.square, expected.square)
    assert found.square.flags.writeable
    assert found.warnings == expected.warnings
    assert (found.pixels is None) == (wanted.kept is None)
    if expected.pixels is not None:
        assert np.array_equal(found.pixels, expected.pixels)
    assert "low_information" in found.warnings  # noise


@pytest.mark.parametrize("data", [b"", b"GIF89a", encoded(SCENE, "JPEG")[:2000]])
def test_a_refusal_is_the_decoders_and_costs_no_child(
    shared: DecodingProcesses, data: bytes
) -> None:
    shared.warm()
    before = shared._idle[0].process.pid
    with pytest.raises(ImageError) as expected:
        decode_here(data, WANTED)
    with pytest.raises(ImageError) as found:
        shared.decode(data, WANTED)
    assert (found.value.code, str(found.value)) == (expected.value.code, str(expected.value))
    assert shared._idle[0].process.pid == before


def _while_it_decodes(processes: DecodingProcesses, act: Callable[[int], None]) -> Exception | None:
    """What decoding raises when `act` meets the child, which has been asked and cannot answer."""
    processes.warm()
    pid = processes._idle[0].process.pid
    psutil.Process(pid).suspend()
    raised: list[Exception] = []
    asked = threading.Event()  # not before: a child found dead is replaced, and nothing raised

    def ask_child(*arguments: Any) -> Any:
        asked.set()
        return _ask(*arguments)

    def ask() -> None:
        try:
            processes.decode(encoded(SCENE, "JPEG"), WANTED)
        except Exception as error:
            raised.append(error)

    thread = threading.Thread(target=ask)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding_process, "_ask", ask_child)
        thread.start()
        assert asked.wait(30)
    act(pid)
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(pid).resume()
    thread.join(30)
    return raised[0] if raised else None


@pytest.mark.parametrize(
    ("number", "kind", "code"),
    [
        (signal.SIGSEGV, ImageError, "corrupt_image"),
        (signal.SIGABRT, ImageError, "corrupt_image"),
        (signal.SIGKILL, MemoryError, None),
    ],
)
def test_a_crash_is_one_photographs_and_the_next_is_decoded(
    processes: DecodingProcesses, number: int, kind: type[Exception], code: str | None
) -> None:
    raised = _while_it_decodes(processes, lambda pid: os.kill(pid, number))
    assert isinstance(raised, kind)
    assert getattr(raised, "code", None) == code
    found = processes.decode(encoded(SCENE, "JPEG"), WANTED)
    assert found.square.shape == (32, 32, 3)


def test_a_child_goes_on_when_the_service_is_asked_to_stop(processes: DecodingProcesses) -> None:
    processes.decode(encoded(SCENE, "JPEG"), WANTED)  # it has started
    assert _while_it_decodes(processes, lambda pid: os.kill(pid, signal.SIGTERM)) is None


def test_a_child_that_died_while_idle_is_replaced(processes: DecodingProcesses) -> None:
    processes.warm()
    first = processes._idle[0].process
    first.kill()
    first.wait()
    assert processes.decode(encoded(SCENE, "JPEG"), WANTED).square.shape == (32, 32, 3)
    assert processes._idle[0].process.pid != first.pid


def test_a_photograph_has_so_much_of_a_processor_and_no_more() -> None:
    large = Image.fromarray(SCENE).resize((4000, 4000), Image.Resampling.NEAREST)
    slow = encoded(large, "JPEG", quality=30, progressive=True)
    began = time.process_time()
    decode_here(slow, WANTED)
    seconds = (time.process_time() - began) / 4  # on any processor; a child's first takes a third
    processes = DecodingProcesses(1, seconds=seconds)
    with pytest.raises(ImageError, match="takes too long") as refused:
        processes.decode(slow, WANTED)
    assert refused.value.code == "too_complex"
    assert not processes._idle
    # Of each photograph, not of all: a child lives on.
    processes.decode(encoded(SCENE, "JPEG"), WANTED)
    pid = processes._idle[0].process.pid
    before = _processor_seconds(pid)
    while _processor_seconds(pid) - before < 2 * seconds:
        processes.decode(encoded(SCENE, "JPEG"), WANTED)
        assert processes._idle[0].process.pid == pid
    _end(processes)


def _processor_seconds(pid: int) -> float:
    return sum(psutil.Process(pid).cpu_times()[:2])


def test_children_wait_for_no_parent_that_was_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STARTS_ONE], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    psutil.wait_procs([child], timeout=60)
    assert not child.is_running()
