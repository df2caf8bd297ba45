"""The decoder in processes of its own, for a service: strangers' bytes meet much C there.

Some photographs keep Python's lock for a tenth of a second while they are decoded, and a fault of a
decoder ends the process that it happens in. A child asks nobody for that lock, may die, and is
ended by the kernel when one photograph has taken it DECODING_SECONDS of processor time. What a
child says is bytes and JSON, so that one which somebody has taken over can only tell lies.

Children are started when they are needed, and end with the service, however that ends: they
read from a socket that only it holds.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from melanoma.data.images import DAMAGED, decode_image, make_square
from melanoma.data.rgb import shrink
from melanoma.errors import ImageError
from melanoma.freed_memory import give_freed_memory_back
from melanoma.types import Pixels

DECODING_SECONDS = 20.0  # of a processor; no sound photograph takes more than a second or two
# For a child that the kernel leaves waiting: so long is nobody's turn.
STUCK_SECONDS = 180.0
log = logging.getLogger("melanoma.data")


class DecodeRequest(NamedTuple):
    """What is to be made of the bytes: a square of `size` cut as `fit` says, and, where `kept` is a
    side in pixels, the whole photograph, shrunk to that at most."""

    size: int
    fit: str
    kept: int | None = None


class Decoded(NamedTuple):
    """The (size, size, 3) square, the photograph's warnings, and its pixels where wanted."""

    square: Pixels
    warnings: tuple[str, ...]
    pixels: Pixels | None


def decode_here(data: bytes, request: DecodeRequest) -> Decoded:
    """The same in this process. Raises ImageError."""
    photograph = decode_image(data)
    square = make_square(photograph.pixels, size=request.size, fit=request.fit)
    shrunk = None if request.kept is None else shrink(photograph.pixels, request.kept)
    return Decoded(square, photograph.warnings, shrunk)


class _Child(NamedTuple):
    process: subprocess.Popen[bytes]
    line: Connection

    def end(self) -> None:
        self.line.close()
        self.process.kill()
        self.process.wait()


class DecodingProcesses:
    """At most `most` children, each of which decodes one photograph at a time.

    `niceness` is added to their own, and `seconds` of a processor end the decoding of one.
    """

    def __init__(self, most: int, *, niceness: int = 0, seconds: float = DECODING_SECONDS) -> None:
        self._most, self._options = most, (niceness, seconds)
        self._idle: list[_Child] = []
        self._count = 0
        self._changed = threading.Condition()

    def decode(self, data: bytes, request: DecodeRequest) -> Decoded:
        """The decoded photograph; waits for a child that is free.

        Raises ImageError, also where decoding crashed or took too long, and MemoryError.
        """
        if sys.platform == "win32":  # no descriptor can be handed down there
            return decode_here(data, request)
        child = self._take()
        try:
            answer, arrays = _ask(child, data, request)
        except (EOFError, OSError) as error:
            self._lose(child)
            raise _end_of(child.process) from error
        except BaseException:
            self._lose(child)
            raise
        self._give_back(child)
        return _read_answer(answer, arrays)

    def warm(self) -> None:
        """Start a child, so that the first photograph need not wait for it."""
        if sys.platform != "win32":
            self._give_back(self._take())

    def _take(self) -> _Child:
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._idle or self._count < self._most)
                if not self._idle:
                    self._count += 1
                    break
                child = self._idle.pop()
                if child.process.poll() is None:
                    return child
                child.end()
                self._count -= 1
        try:
            return _start(*self._options)
        except BaseException:
            self._count_down()
            raise

    def _give_back(self, child: _Child) -> None:
        with self._changed:
            self._idle.append(child)
            self._changed.notify_all()

    def _lose(self, child: _Child) -> None:
        # One that ended by itself keeps its exit status; another one is ended.
        child.line.close()
        try:
            child.process.wait(5)
        except subprocess.TimeoutExpired:
            child.end()
        self._count_down()

    def _count_down(self) -> None:
        with self._changed:
            self._count -= 1
            self._changed.notify_all()


def _start(niceness: int, seconds: float) -> _Child:
    ours, its = socket.socketpair()
    paths = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    with its:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(its.fileno()), str(niceness), str(seconds)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[its.fileno()],
            process_group=0,  # a key that ends the service at a terminal is not for its children
        )
    return _Child(process, Connection(ours.detach()))


def _ask(child: _Child, data: bytes, request: DecodeRequest) -> tuple[dict[str, Any], list[Pixels]]:
    """What the child says, and its arrays. Raises EOFError or OSError where it died."""
    child.line.send_bytes(json.dumps(request._asdict()).encode())
    child.line.send_bytes(data)
    if not child.line.poll(STUCK_SECONDS):
        child.process.send_signal(signal.SIGPROF)
    answer = json.loads(child.line.recv_bytes())
    return answer, [_read_array(child.line, tuple(shape)) for shape in answer.get("shapes", ())]


def _read_array(line: Connection, shape: tuple[int, ...]) -> Pixels:
    # A copy of its own: torch wants what can be written to.
    return np.frombuffer(bytearray(line.recv_bytes()), np.uint8).reshape(shape)


def _read_answer(answer: dict[str, Any], arrays: list[Pixels]) -> Decoded:
    if arrays:
        return Decoded(arrays[0], tuple(answer["warnings"]), arrays[1] if arrays[1:] else None)
    if answer["code"] is None:
        raise MemoryError(answer["message"])
    raise ImageError(answer["code"], answer["message"])


def _end_of(process: subprocess.Popen[bytes]) -> Exception:
    """The error that the child's end amounts to."""
    status = process.returncode
    log.warning("a decoding process ended with status %s", status)
    if status == -signal.SIGPROF:
        return ImageError("too_complex", "decoding the photograph takes too long")
    if status == -signal.SIGKILL:  # by the kernel, as a rule
        return MemoryError("a decoding process was killed")
    if status < 0:
        return ImageError("corrupt_image", DAMAGED)
    return RuntimeError(f"a decoding process ended with status {status}")


def _serve(line: Connection, seconds: float) -> None:
    """Answer until nobody is there to ask."""
    while True:
        try:
            request = DecodeRequest(**json.loads(line.recv_bytes()))
            data = line.recv_bytes()
        except EOFError:
            return
        signal.setitimer(signal.ITIMER_PROF, seconds)
        answer, arrays = _answer(data, request)
        signal.setitimer(signal.ITIMER_PROF, 0)
        try:
            line.send_bytes(json.dumps(answer).encode())
            for array in arrays:
                line.send_bytes(array.tobytes())
        except BrokenPipeError:
            return


def _answer(data: bytes, request: DecodeRequest) -> tuple[dict[str, Any], list[Pixels]]:
    try:
        decoded = decode_here(data, request)
    except ImageError as error:
        return {"code": error.code, "message": str(error)}, []
    except MemoryError as error:
        return {"code": None, "message": str(error)}, []
    arrays = [decoded.square, *([] if decoded.pixels is None else [decoded.pixels])]
    return {"warnings": decoded.warnings, "shapes": [array.shape for array in arrays]}, arrays


def main() -> None:
    """Serve on the descriptor that the parent gives."""
    descriptor, niceness, seconds = sys.argv[1:]
    # The service ends when it has answered; until then it needs its children.
    for stop in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stop, signal.SIG_IGN)
    os.nice(int(niceness))
    give_freed_memory_back()
    _serve(Connection(int(descriptor)), float(seconds))


if __name__ == "__main__":
    main()
