"""Replicas of Ray Serve, killed at random moments and renewed in turn, under load.

    python -m benchmarks.ray_serve             # needs the extra [ray-serve]; two or three minutes

A cluster of this machine alone runs deploy/ray_serve.py. First photographs are scored, and held
against the bundle's own answers. Then callers ask again and again while a replica's process is
killed (SIGKILL) at random moments, and while the application is deployed anew (a rolling
restart). It holds when the scores are the same to 1e-6, every request that was lost had begun
before a kill and not ended by then, so that it was in flight, and the rolling restart lost none.
The exit code is 1 otherwise. The figures go to results/benchmarks/ray_serve.json.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks.facts import run_facts
from benchmarks.service import draw_photographs, free_port
from benchmarks.shipped import WEIGHTS
from melanoma.scoring.backends.backend_catalog import Engine
from melanoma.scoring.bundle.golden import open_scorer
from melanoma.storage import write_json

OUT = Path("results/benchmarks/ray_serve.json")
MOST_DIFFERENCE = 1e-6
STARTED_SECONDS = 300


@dataclass(frozen=True)
class Asked:
    """A request: when it began and ended, and the status or the error's name."""

    start: float
    end: float
    answer: str


@dataclass
class Load:
    """Callers that ask, each for one score after another, until they are told to stop."""

    address: str
    photographs: list[bytes]
    asked: list[Asked] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def run(self, caller: int) -> None:
        count = caller
        with httpx.Client(timeout=120) as client:
            while not self.over.is_set():
                start = time.monotonic()
                data = self.photographs[count % len(self.photographs)]
                try:
                    reply = client.post(f"{self.address}/predict", files={"file": data})
                    answer = str(reply.status_code)
                except httpx.HTTPError as error:
                    answer = type(error).__name__
                self.asked.append(Asked(start, time.monotonic(), answer))
                count += 1


def under_load(address: str, photographs: list[bytes], callers: int, work: Any) -> dict[str, Any]:
    """What callers got while `work` was done; it gives the moments of kills."""
    load = Load(address, photographs)
    threads = [threading.Thread(target=load.run, args=(n,)) for n in range(callers)]
    for thread in threads:
        thread.start()
    time.sleep(2)
    moments: list[float] = work()
    time.sleep(2)
    load.over.set()
    for thread in threads:
        thread.join()
    lost = [one for one in load.asked if one.answer != "200"]
    in_flight = [any(one.start <= moment <= one.end for moment in moments) for one in lost]
    return {
        "requests": len(load.asked),
        "kills": len(moments),
        "lost_in_flight_at_a_kill": sum(in_flight),
        "lost_otherwise": len(lost) - sum(in_flight),
        "answers_of_the_lost": sorted({one.answer for one in lost}),
        "slowest_seconds": round(max(one.end - one.start for one in load.asked), 2),
    }


def replicas() -> list[psutil.Process]:
    """The replicas' processes."""
    found = []
    for one in psutil.process_iter(["cmdline"]):
        if "ServeReplica:default:melanoma" in " ".join(one.info["cmdline"] or ()):
            found.append(one)
    return found


def wait_running(serve: Any, count: int, *, without: int | None = None) -> None:
    """Until so many replicas serve, and none starts or stops, nor is the process `without`, whose
    end Ray sees seconds later."""
    for _ in range(STARTED_SECONDS * 5):
        states = serve.status().applications["default"].deployments["melanoma"].replica_states
        present = {one.pid for one in replicas()}
        if states == {"RUNNING": count} and len(present) == count and without not in present:
            return
        time.sleep(0.2)
    sys.exit(f"the replicas do not come back: {states}")


def kill_at_random(serve: Any, count: int, times: int, rng: random.Random) -> list[float]:
    moments = []
    wait_running(serve, count)
    for _ in range(times):
        time.sleep(rng.uniform(0.5, 2.0))
        one = rng.choice(replicas())
        moments.append(time.monotonic())
        one.send_signal(signal.SIGKILL)
        wait_running(serve, count, without=one.pid)
    return moments


def largest_difference(address: str, photographs: list[bytes]) -> float:
    """Between an answer of the service and the bundle's own, over photographs and classes."""
    answers = [
        httpx.post(f"{address}/predict", files={"file": data}, timeout=120).json()
        for data in photographs
    ]
    engine = Engine(answers[0]["model"]["backend"])  # the one that the service has by default
    scorer = open_scorer(WEIGHTS, engine=engine)
    return max(
        abs(answer["by_class"][name] - p)
        for data, answer in zip(photographs, answers, strict=True)
        for name, p in scorer.score(data).by_class.items()
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--callers", type=int, default=4)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--images", type=Path, help="a folder of photographs, instead of phantoms")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    os.environ |= {"MELANOMA_WEIGHTS": str(WEIGHTS), "MELANOMA_DEVICE": "cpu"}
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "NO_ALBUMENTATIONS_UPDATE": "1"}
    os.environ |= {"RAY_worker_niceness": "0"}  # not behind whatever else runs here
    import ray
    from ray import serve

    from deploy.ray_serve import Scale, build

    photographs = draw_photographs(8)
    if options.images:
        photographs = [path.read_bytes() for path in sorted(options.images.rglob("*.jpg"))[:8]]
    count, port = options.replicas, free_port()
    ray.init("local", num_cpus=2 * count + 2, include_dashboard=False, logging_level="ERROR")
    try:
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        scale = Scale(least=count, most=count)
        serve.run(build(scale))
        address = f"http://127.0.0.1:{port}"
        found: dict[str, Any] = {"replicas": count, "callers": options.callers}
        found["largest_difference"] = largest_difference(address, photographs)
        rng, ask = random.Random(options.seed), (address, photographs, options.callers)
        found["killed"] = under_load(*ask, lambda: kill_at_random(serve, count, options.kills, rng))

        def renew() -> list[float]:
            # Another setting of the deployment: its replicas are exchanged, one after another.
            before = {one.pid for one in replicas()}
            serve.run(build(scale.model_copy(update={"cpus": 0.9})))
            wait_running(serve, count)
            assert not before & {one.pid for one in replicas()}, "no replica was exchanged"
            return []

        found["rolling"] = under_load(*ask, renew)
    finally:
        serve.shutdown()
        ray.shutdown()
    write_json(OUT, {**run_facts("ray_serve"), **found})
    print(found)
    lost = found["killed"]["lost_otherwise"] or found["rolling"]["lost_otherwise"]
    return int(bool(lost or found["largest_difference"] > MOST_DIFFERENCE))


if __name__ == "__main__":
    sys.exit(main())
