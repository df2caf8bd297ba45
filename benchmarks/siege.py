"""Everything at once: three times the capacity with LIME, batches, slow clients and bombs.

    python -m benchmarks.siege                 # the shipped bundle: about three minutes
    python -m benchmarks.siege --seconds 600   # longer

The service runs as its users start it, the load comes from a process of its own, and /healthz is
asked ten times a second by a third, as is a server that does nothing: on a machine whose load and
service share two cores, that is the part of the wait which no service can help. It holds when every
answer is 200, a 4xx or 503, no look at /healthz took 100 ms, memory stayed below 2 GB, and the
service scores as before when all is over; the exit code is 1 otherwise. The figures go to
results/benchmarks/siege.json.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from benchmarks.facts import run_facts
from benchmarks.service import (
    CLIENTS,
    Callers,
    Tally,
    ask_in_turn,
    draw_photographs,
    percentiles,
    resident,
)
from benchmarks.shipped import WEIGHTS
from benchmarks.siege_bombs import make_bombs
from melanoma.storage import write_json

OUT = Path("results/benchmarks/siege.json")
BOUNDARY = "siege"
MOST_MILLISECONDS, MOST_MEGABYTES = 100, 2000
PATIENCE = 30.0  # seconds that a caller waits; LIME's own wait longer
SLOW_CLIENTS, HELD_UPLOADS, BOMBERS = 60, 20, 6
_HEAD = "POST {path} HTTP/1.1\r\nHost: siege\r\nContent-Type: multipart/form-data; boundary={b}\r\n"


def make_request(path: str, files: list[bytes], **fields: str) -> bytes:
    """A whole request whose connection is closed after the answer."""
    name = "file" if len(files) == 1 and path != "/predict/batch" else "files"
    parts = [f'name="{key}"\r\n\r\n{value}'.encode() for key, value in fields.items()]
    parts += [f'name="{name}"; filename="photograph"\r\n\r\n'.encode() + data for data in files]
    start = f"--{BOUNDARY}\r\nContent-Disposition: form-data; ".encode()
    body = b"".join(start + part + b"\r\n" for part in parts) + f"--{BOUNDARY}--\r\n".encode()
    head = _HEAD.format(path=path, b=BOUNDARY) + f"Content-Length: {len(body)}\r\n"
    return head.encode() + b"Connection: close\r\n\r\n" + body


class Siege:
    """Callers of every kind against one port; `tallies` are by kind."""

    def __init__(self, port: int, photographs: list[bytes], seconds: float) -> None:
        self.port, self.photographs = port, photographs
        self.until = time.perf_counter() + seconds
        self.tallies: dict[str, Tally] = {}
        self.bombs = make_bombs()

    async def ask(self, kind: str, request: bytes, *, patience: float = PATIENCE) -> int:
        """The answer's status, noted under `kind`; 0 where none came in time."""
        start, status = time.perf_counter(), 0
        with suppress(OSError, TimeoutError, ValueError, IndexError):
            async with asyncio.timeout(patience):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                try:
                    with suppress(ConnectionError):  # refused in mid-stream: the answer is there
                        writer.write(request)
                        await writer.drain()
                    status = int((await reader.readline()).split()[1])
                    with suppress(ConnectionError):
                        await reader.read()
                finally:
                    writer.close()
        seconds = time.perf_counter() - start
        self.tallies.setdefault(kind, Tally()).note(status, seconds)
        return status

    async def again_and_again(
        self, ask: Callable[[int], Awaitable[int]], *, first: int = 0, step: int = 1
    ) -> None:
        """Asks anew when answered, a second later when refused, as Retry-After wishes."""
        count = first
        while time.perf_counter() < self.until:
            if await ask(count) == 503:
                await asyncio.sleep(1)
            count += step

    async def scores(self, rate: float) -> None:
        """Scores at a fixed rate, whatever becomes of them."""
        requests = [make_request("/predict", [one]) for one in self.photographs]
        start, tasks = time.perf_counter(), list[asyncio.Task[int]]()
        while time.perf_counter() < self.until:
            tasks.append(
                asyncio.create_task(self.ask("score", requests[len(tasks) % len(requests)]))
            )
            await asyncio.sleep(max(0.0, start + len(tasks) / rate - time.perf_counter()))
        await asyncio.gather(*tasks)

    async def drip(self) -> None:
        """An upload that brings a byte a second, begun again when it is ended."""
        head = _HEAD.format(path="/predict/batch", b=BOUNDARY) + "Content-Length: 60000000\r\n\r\n"
        while time.perf_counter() < self.until:
            with suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.write(head.encode())
                while time.perf_counter() < self.until and not writer.is_closing():
                    writer.write(b"-")
                    await writer.drain()
                    await asyncio.sleep(1)
                writer.close()
            await asyncio.sleep(0.5)

    async def hold(self) -> None:
        """An upload of 9.9 MB that stops at its last byte."""
        request = make_request("/predict", [self.photographs[0] + bytes(9_900_000)])[:-1]
        while time.perf_counter() < self.until:
            with suppress(OSError, TimeoutError):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.write(request)
                with suppress(ConnectionError):
                    await writer.drain()
                async with asyncio.timeout(max(0.1, self.until - time.perf_counter())):
                    await reader.read()
                writer.close()
            await asyncio.sleep(1)

    async def all(self, rate: float) -> None:
        """Every kind at once, until the end."""
        lime = [
            make_request("/explain", [self.photographs[0]], method="lime", precision=precision)
            for precision in ("Low", "Medium", "High")
        ]
        cam = make_request("/explain", [self.photographs[1]], method="gradcam")
        batch = make_request("/predict/batch", self.photographs * 2)
        bombs = [
            (f"bomb {name}", make_request(path, files))
            for name, bomb in self.bombs.items()
            for path, files in (
                ("/predict", [bomb]),
                ("/explain", [bomb]),
                ("/predict/batch", [bomb, self.photographs[0]] * 4),
            )
        ]
        again = self.again_and_again

        def throw(number: int) -> Awaitable[int]:
            return self.ask(*bombs[number % len(bombs)], patience=60)

        await asyncio.gather(
            self.scores(rate),
            *(again(lambda n: self.ask("lime", lime[n % 3], patience=90)) for _ in range(3)),
            *(again(lambda n: self.ask("gradcam", cam)) for _ in range(2)),
            *(again(lambda n: self.ask("batch", batch, patience=60)) for _ in range(3)),
            *(again(throw, first=k, step=BOMBERS) for k in range(BOMBERS)),
            *(self.drip() for _ in range(SLOW_CLIENTS)),
            *(self.hold() for _ in range(HELD_UPLOADS)),
        )


def besiege(
    port: int, seconds: float, rate: float, answers: multiprocessing.Queue[dict[str, Any]]
) -> None:
    """The load, in a process of its own; its tallies go into `answers`."""
    siege = Siege(port, draw_photographs(), seconds)
    asyncio.run(siege.all(rate))
    answers.put({kind: tally.milliseconds for kind, tally in siege.tallies.items()})


def look(port: int, seconds: float, answers: multiprocessing.Queue[dict[int, list[float]]]) -> None:
    """Looks at /healthz ten times a second, before whatever else wants the processor."""
    with suppress(PermissionError):
        os.nice(-10)
    request = b"GET /healthz HTTP/1.1\r\nHost: siege\r\nConnection: close\r\n\r\n"
    tally, until = Tally(), time.perf_counter() + seconds
    while time.perf_counter() < until:
        start, answer = time.perf_counter(), b""
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), PATIENCE) as line:
            line.sendall(request)
            while piece := line.recv(65536):
                answer += piece
        status = int(answer.split()[1]) if answer else 0
        tally.note(status, time.perf_counter() - start)
        time.sleep(0.1)
    answers.put(tally.milliseconds)


def idle(port: multiprocessing.Queue[int]) -> None:
    """A server that does nothing but answer: what a look at it takes is the machine's part."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        await writer.drain()
        writer.close()

    async def run() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port.put(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


@contextmanager
def serving(weights: Path) -> Iterator[tuple[int, psutil.Process]]:
    """The service's port and process; it is told to end afterwards, and must within a minute."""
    with tempfile.TemporaryFile() as log:
        command = [sys.executable, "-m", "melanoma.serve", "--port", "0", "--weights", str(weights)]
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            port = _read_port(log, process)
            yield port, psutil.Process(process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                raise


def _read_port(log: Any, process: subprocess.Popen[bytes]) -> int:
    for _ in range(600):
        log.seek(0)
        said = log.read().decode()
        if "; Ctrl-C" in said:
            return int(said.partition("; Ctrl-C")[0].rpartition(":")[2])
        if process.poll() is not None:
            raise SystemExit(said)
        time.sleep(0.1)
    raise SystemExit(f"the service did not start: {said}")


def measure(weights: Path, seconds: float) -> dict[str, Any]:
    """Capacity, the siege, and a score afterwards."""
    photographs = draw_photographs()
    with serving(weights) as (port, process):
        full, lasted = asyncio.run(
            ask_in_turn(
                Callers(f"http://127.0.0.1:{port}", photographs), clients=CLIENTS, seconds=10
            )
        )
        capacity = full.summary(lasted)["answers_per_second"]
        before = resident(process)
        load: multiprocessing.Queue[Any] = multiprocessing.Queue()
        health: multiprocessing.Queue[Any] = multiprocessing.Queue()
        other: multiprocessing.Queue[Any] = multiprocessing.Queue()
        beside = multiprocessing.Process(target=idle, args=(other,), daemon=True)
        beside.start()
        idle_port = other.get()
        workers = [
            multiprocessing.Process(target=besiege, args=(port, seconds, 3 * capacity, load)),
            multiprocessing.Process(target=look, args=(port, seconds, health)),
            multiprocessing.Process(target=look, args=(idle_port, seconds, other)),
        ]
        memory: list[int] = []
        over = threading.Event()
        watch = threading.Thread(target=_watch, args=(process, memory, over))
        for worker in workers:
            worker.start()
        watch.start()
        kinds, looks, idles = load.get(), health.get(), other.get()
        over.set()
        beside.terminate()
        time.sleep(5)
        after, _ = asyncio.run(
            ask_in_turn(Callers(f"http://127.0.0.1:{port}", photographs), clients=1, seconds=3)
        )
        return _summary(kinds, looks, idles, memory, capacity, before, process, after)


def _watch(process: psutil.Process, memory: list[int], over: threading.Event) -> None:
    while not over.wait(0.05):
        memory.append(resident(process))


def _summary(
    kinds: dict[str, dict[int, list[float]]],
    looks: dict[int, list[float]],
    idles: dict[int, list[float]],
    memory: list[int],
    capacity: float,
    before: int,
    process: psutil.Process,
    after: Tally,
) -> dict[str, Any]:
    statuses = {kind: {str(s): len(t) for s, t in sorted(by.items())} for kind, by in kinds.items()}
    wrong = {
        kind: found
        for kind, by in kinds.items()
        if (found := {s: len(t) for s, t in by.items() if not (s in (200, 503) or 400 <= s < 500)})
    }
    healthz = percentiles([ms for times in looks.values() for ms in times])
    idle_server = percentiles([ms for times in idles.values() for ms in times])
    peak = round(max(memory) / 1e6)
    assert healthz is not None
    return {
        "holds": not wrong
        and set(looks) == {200}
        and healthz["most"] < MOST_MILLISECONDS
        and peak < MOST_MEGABYTES
        and set(after.milliseconds) == {200},
        "capacity_per_second": capacity,
        "requests_per_second": round(3 * capacity, 1),
        "statuses": statuses,
        "wrong": wrong,
        "scores": percentiles(kinds["score"].get(200, [])),
        "refused": percentiles(kinds["score"].get(503, [])),
        "healthz": healthz,
        "idle_server": idle_server,
        "megabytes": {
            "before": round(before / 1e6),
            "peak": peak,
            "after": round(resident(process) / 1e6),
        },
        "after": {str(status): len(times) for status, times in after.milliseconds.items()},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--seconds", type=float, default=120, help="of the siege")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    found = measure(args.weights, args.seconds)
    write_json(args.out, {**run_facts("siege"), "bundle": args.weights.name, **found})
    print(f"{'it holds' if found['holds'] else 'IT DOES NOT HOLD'}; wrote {args.out}")
    return 0 if found["holds"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
