"""The service under load, beside the same models behind a plain FastAPI handler and LitServe.

    python -m benchmarks.service                    # the comparison: about 8 minutes
    python -m benchmarks.service --soak 600         # how memory grows in ten minutes at capacity
    python -m benchmarks.service --lime             # what explanations cost those who want scores

One bundle of five members is behind all servers (trained here on phantoms, or --weights DIR), each
server in a process of its own (benchmarks/service_servers.py), one at a time, the load coming from
this process. Capacity is what a server answers to a fixed number of clients who ask again as soon
as they are answered. At three times that, requests come at a fixed rate, answered or not, while
/healthz is asked ten times a second. Where the processor multiplies bfloat16, ours is measured in
it as well; what that rounds depends on what the networks learned, and evaluate tells it. LitServe
is only needed here: pip install litserve; without it the script says so and compares the others.
Figures go to results/benchmarks/service*.json.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import psutil

from api.settings import Settings
from benchmarks.facts import run_facts
from benchmarks.service_bundle import make_bundle
from benchmarks.service_servers import SERVERS
from melanoma.data.phantoms.drawing import draw_phantom
from melanoma.devices import has_bfloat16
from melanoma.storage import write_json

OUT = Path("results/benchmarks")
CLIENTS = 8
TIMEOUT = 10.0  # seconds that a caller waits
WIDTH, HEIGHT = 600, 450


@dataclass
class Tally:
    """What came back: statuses, and milliseconds by status; 0 stands for no answer in time."""

    milliseconds: dict[int, list[float]] = field(default_factory=dict)

    def note(self, status: int, seconds: float) -> None:
        self.milliseconds.setdefault(status, []).append(1000 * seconds)

    def summary(self, seconds: float) -> dict[str, Any]:
        good = self.milliseconds.get(200, [])
        counts = Counter({code: len(times) for code, times in self.milliseconds.items()})
        others = sum(count for code, count in counts.items() if code not in (200, 503))
        return {
            "answers_per_second": round(len(good) / seconds, 2),
            "answered": percentiles(good),
            "refused": percentiles(self.milliseconds.get(503, [])),
            "errors": others,
            "statuses": {str(code): count for code, count in sorted(counts.items())},
        }


def percentiles(milliseconds: Sequence[float]) -> dict[str, float] | None:
    """p50, p95, p99 and the largest, in milliseconds; None without any."""
    if not milliseconds:
        return None
    p50, p95, p99 = np.percentile(milliseconds, [50, 95, 99])
    named = {"p50": p50, "p95": p95, "p99": p99, "most": max(milliseconds)}
    return {name: round(float(value), 1) for name, value in named.items()}


def draw_photographs(count: int = 16) -> list[bytes]:
    """JPEG files of 600 x 450, phantoms."""
    files = []
    for number in range(count):
        rng = np.random.default_rng(number)
        square = draw_phantom(melanoma=number % 2 == 0, rng=rng, size=256)
        pixels = cv2.resize(square, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
        files.append(cv2.imencode(".jpg", pixels[..., ::-1])[1].tobytes())
    return files


def free_port() -> int:
    """A port of this machine that nobody has."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def running(server: str, weights: Path) -> Iterator[tuple[str, psutil.Process]]:
    """The server's address and process, once it answers; ended afterwards."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.service_servers", server]
    process = subprocess.Popen([*command, "--weights", str(weights), "--port", str(port)])
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            if process.poll() is not None:
                raise SystemExit(f"{server} ended with {process.returncode}")
            try:
                if httpx.get(f"{address}/healthz").status_code == 200:
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.2)
        yield address, psutil.Process(process.pid)
    finally:
        family = [process, *psutil.Process(process.pid).children(recursive=True)]
        process.terminate()
        for member in family:
            try:
                member.wait(timeout=15)
            except (subprocess.TimeoutExpired, psutil.TimeoutExpired):
                member.kill()


class Callers:
    """Those who send photographs to one address, each in turn another one."""

    def __init__(self, address: str, photographs: Sequence[bytes]) -> None:
        self.address, self.photographs, self.sent = address, photographs, 0
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=256)
        self.client = httpx.AsyncClient(timeout=TIMEOUT, limits=limits)

    async def ask(self, tally: Tally, path: str = "/predict", **fields: str) -> int:
        """One photograph's answer, noted; its status."""
        photograph = self.photographs[self.sent % len(self.photographs)]
        self.sent += 1
        files = {"file": ("photograph.jpg", photograph)}
        return await self._timed(
            tally, self.client.post(f"{self.address}{path}", files=files, data=fields)
        )

    async def look(self, tally: Tally) -> int:
        """One look at /healthz, noted."""
        return await self._timed(tally, self.client.get(f"{self.address}/healthz"))

    async def _timed(self, tally: Tally, asked: Awaitable[httpx.Response]) -> int:
        start = time.perf_counter()
        try:
            status = (await asked).status_code
        except httpx.TransportError:
            status = 0
        tally.note(status, time.perf_counter() - start)
        return status


async def ask_in_turn(
    callers: Callers, *, clients: int, seconds: float, beside: Callable[[], None] = lambda: None
) -> tuple[Tally, float]:
    """Each client asks again when answered; `beside` is called once a second. Tally, seconds."""
    tally, start = Tally(), time.perf_counter()

    async def client() -> None:
        while time.perf_counter() - start < seconds:
            if await callers.ask(tally) != 200:
                await asyncio.sleep(0.05)

    tasks = [asyncio.create_task(client()) for _ in range(clients)]
    while not all(task.done() for task in tasks):
        beside()
        await asyncio.sleep(1)
    await asyncio.gather(*tasks)
    return tally, time.perf_counter() - start


async def ask_at_rate(
    callers: Callers, *, rate: float, seconds: float
) -> tuple[Tally, Tally, float]:
    """Requests at a fixed rate, and looks at /healthz ten times a second: their tallies, and the
    seconds until the last answer. What had queued comes after the last request."""
    tally, health = Tally(), Tally()
    begun = time.perf_counter()
    ended = begun + seconds

    async def ask() -> int:
        nonlocal ended
        status = await callers.ask(tally)
        if status == 200:
            ended = max(ended, time.perf_counter())
        return status

    async def every(pause: float, ask: Callable[[], Awaitable[int]]) -> None:
        start, tasks, count = time.perf_counter(), [], 0
        while count * pause < seconds:
            await asyncio.sleep(max(0.0, start + count * pause - time.perf_counter()))
            tasks.append(asyncio.ensure_future(ask()))
            count += 1
        await asyncio.gather(*tasks)

    await asyncio.gather(every(1 / rate, ask), every(0.1, lambda: callers.look(health)))
    return tally, health, ended - begun


async def measure_server(
    address: str, photographs: Sequence[bytes], seconds: float
) -> dict[str, Any]:
    """One server: alone, at capacity, at three times capacity."""
    callers = Callers(address, photographs)
    await ask_in_turn(callers, clients=CLIENTS, seconds=3)  # warms up
    alone, alone_seconds = await ask_in_turn(callers, clients=1, seconds=seconds / 3)
    full, full_seconds = await ask_in_turn(callers, clients=CLIENTS, seconds=seconds)
    at_capacity = full.summary(full_seconds)
    if not at_capacity["answers_per_second"]:
        raise SystemExit(f"no photograph was answered in {seconds:g} s: {at_capacity}")
    rate = 3 * at_capacity["answers_per_second"]
    over, health, lasted = await ask_at_rate(callers, rate=rate, seconds=seconds)
    return {
        "one_client": alone.summary(alone_seconds),
        "capacity": {"clients": CLIENTS, **at_capacity},
        "three_times": {
            "requests_per_second": round(rate, 2),
            "seconds_to_the_last_answer": round(lasted, 2),
            **over.summary(lasted),
            "healthz": percentiles([t for times in health.milliseconds.values() for t in times]),
            "healthz_unanswered": len(health.milliseconds.get(0, [])),
        },
    }


def compare(weights: Path, photographs: Sequence[bytes], *, seconds: float) -> dict[str, Any]:
    """Every server's figures, by its name."""
    found: dict[str, Any] = {}
    for server in SERVERS:
        if server == "ours_bfloat16" and not has_bfloat16():
            continue
        if server == "litserve" and importlib.util.find_spec("litserve") is None:
            print("litserve is left out: pip install litserve", file=sys.stderr)
            continue
        with running(server, weights) as (address, _):
            found[server] = asyncio.run(measure_server(address, photographs, seconds))
        print(f"{server}: {found[server]['capacity']}", file=sys.stderr)
    return found


def resident(process: psutil.Process) -> int:
    """Bytes in memory of the process and those that it started; what they share counts twice."""
    family = [process, *process.children(recursive=True)]
    total = 0
    for one in family:
        with suppress(psutil.NoSuchProcess):
            total += one.memory_info().rss
    return total


def soak(weights: Path, photographs: Sequence[bytes], *, seconds: float) -> dict[str, Any]:
    """Resident memory of our service at capacity: its growth from the second tenth to the last."""
    with running("ours", weights) as (address, process):
        samples: list[int] = []
        tally, lasted = asyncio.run(
            ask_in_turn(
                Callers(address, photographs),
                clients=CLIENTS,
                seconds=seconds,
                beside=lambda: samples.append(resident(process)),
            )
        )
    tenth = max(1, len(samples) // 10)
    before, after = np.mean(samples[tenth : 2 * tenth]), np.mean(samples[-tenth:])
    return {
        "seconds": round(lasted),
        "megabytes_before": round(before / 1e6, 1),
        "megabytes_after": round(after / 1e6, 1),
        "growth_percent": round(100 * (after / before - 1), 2),
        "megabytes": [round(sample / 1e6, 1) for sample in samples[:: max(1, len(samples) // 60)]],
        **tally.summary(lasted),
    }


async def _ask_beside_lime(
    address: str, photographs: Sequence[bytes], seconds: float
) -> dict[str, Any]:
    callers, explained = Callers(address, photographs), Tally()
    await ask_in_turn(callers, clients=1, seconds=3)
    before, before_seconds = await ask_in_turn(callers, clients=1, seconds=seconds)
    over = asyncio.Event()

    async def explain() -> None:
        while not over.is_set():
            fields = {"method": "lime", "precision": "High"}
            if await callers.ask(explained, "/explain", **fields) == 503:
                await asyncio.sleep(1)  # what Retry-After asks for

    callers.client.timeout = httpx.Timeout(120)
    tasks = [asyncio.create_task(explain()) for _ in range(10)]
    await asyncio.sleep(2)
    beside, beside_seconds = await ask_in_turn(callers, clients=1, seconds=seconds)
    over.set()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    without, beside_lime = before.summary(before_seconds), beside.summary(beside_seconds)
    return {
        "without": without,
        "beside_ten_explanations": beside_lime,
        "p95_ratio": round(beside_lime["answered"]["p95"] / without["answered"]["p95"], 2),
        "explanations": explained.summary(beside_seconds),
    }


def measure_lime(weights: Path, photographs: Sequence[bytes], *, seconds: float) -> dict[str, Any]:
    """A client's scores, without and beside ten callers who ask for LIME again and again."""
    with running("ours", weights) as (address, _):
        return asyncio.run(_ask_beside_lime(address, photographs, seconds))


def _facts(weights: Path | None) -> dict[str, Any]:
    return {
        **run_facts("service"),
        "bundle": weights.name if weights else "five ResNet-18 at 128 px",
        "photographs": f"JPEG, {WIDTH} x {HEIGHT}",
        "queue": Settings().queue,
        "batch": Settings().batch,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, help="a sealed bundle (default: one is trained)")
    parser.add_argument("--seconds", type=float, default=30, help="of each measurement")
    parser.add_argument("--soak", type=float, metavar="SECONDS", help="only memory, this long")
    parser.add_argument("--lime", action="store_true", help="only what LIME costs the others")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the results")
    args = parser.parse_args()
    photographs = draw_photographs()
    with tempfile.TemporaryDirectory() as temporary:
        weights = args.weights or make_bundle(Path(temporary))
        facts = _facts(args.weights)
        if args.soak:
            name, found = "service_soak", soak(weights, photographs, seconds=args.soak)
        elif args.lime:
            name, found = "service_lime", measure_lime(weights, photographs, seconds=args.seconds)
        else:
            name = f"service_{args.weights.name}" if args.weights else "service"
            found = compare(weights, photographs, seconds=args.seconds)
    write_json(args.out / f"{name}.json", {**facts, **found})
    print(f"wrote {args.out / name}.json")


if __name__ == "__main__":
    main()
