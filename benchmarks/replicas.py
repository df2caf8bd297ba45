"""Replicas behind nginx, killed at random moments and restarted in turn, under load.

    python -m benchmarks.replicas                  # two services, a minute and a half

Real processes: nginx with deploy/nginx.conf, in which only places are others, and `python -m
melanoma.serve` twice. Callers at addresses of their own ask for scores again and again. First a
replica is killed (SIGKILL) at random moments and started anew; then each is stopped (SIGTERM) and
started in turn, as a rolling update does. It holds when every request was answered by a score:
what was in flight on a replica that died is asked of the other one. The exit code is 1 otherwise.
The figures go to results/benchmarks/replicas.json.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from benchmarks.facts import run_facts
from benchmarks.service import draw_photographs
from benchmarks.shipped import WEIGHTS
from melanoma.storage import write_json

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))
from front import Front, free_port

OUT = Path("results/benchmarks/replicas.json")
CALLERS = 4


@dataclass
class Replica:
    """A service on a port of its own, which may be ended and started anew."""

    port: int
    weights: Path
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "melanoma.serve", "--port", str(self.port)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--weights", str(self.weights), "--device", "cpu"], stderr=log
            )

    def wait_ready(self) -> None:
        for _ in range(1200):
            assert self.process is not None
            if self.process.poll() is not None:
                sys.exit(f"a replica ended: {self.log.read_text()[-1000:]}")
            try:
                if httpx.get(f"http://127.0.0.1:{self.port}/readyz", timeout=5).is_success:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.1)
        sys.exit("a replica does not become ready")

    def end(self, number: signal.Signals) -> float:
        """Seconds until it was gone."""
        assert self.process is not None
        start = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(timeout=30)
        return time.monotonic() - start


@dataclass
class Load:
    """Callers that ask until they are told to stop; `answers` counts what they got."""

    address: str
    photographs: list[bytes]
    answers: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    over: threading.Event = field(default_factory=threading.Event)

    def run(self, caller: int) -> None:
        # An address each: nginx bounds the rate of one.
        transport = httpx.HTTPTransport(local_address=f"127.0.0.{20 + caller}")
        with httpx.Client(transport=transport, timeout=60) as client:
            count = caller
            while not self.over.is_set():
                start = time.monotonic()
                data = self.photographs[count % len(self.photographs)]
                try:
                    reply = client.post(f"{self.address}/predict", files={"file": data})
                    self.answers[str(reply.status_code)] += 1
                except httpx.HTTPError as error:
                    self.answers[type(error).__name__] += 1
                self.slowest = max(self.slowest, time.monotonic() - start)
                count += 1
                time.sleep(max(0.0, 0.15 - (time.monotonic() - start)))  # below nginx's rate


def under_load(address: str, photographs: list[bytes], work: Any) -> dict[str, Any]:
    """What callers got while `work` was done."""
    load = Load(address, photographs)
    threads = [threading.Thread(target=load.run, args=(n,)) for n in range(CALLERS)]
    for thread in threads:
        thread.start()
    time.sleep(2)
    done = work()
    time.sleep(2)
    load.over.set()
    for thread in threads:
        thread.join()
    lost = sum(count for answer, count in load.answers.items() if answer != "200")
    return {
        **done,
        "requests": sum(load.answers.values()),
        "answers": dict(load.answers),
        "lost": lost,
        "slowest_seconds": round(load.slowest, 2),
    }


def kill_at_random(replicas: list[Replica], times: int, rng: random.Random) -> dict[str, Any]:
    for _ in range(times):
        time.sleep(rng.uniform(0.5, 2.5))
        one = rng.choice(replicas)
        one.end(signal.SIGKILL)
        one.start()
        one.wait_ready()
    return {"kills": times}


def restart_in_turn(replicas: list[Replica], times: int) -> dict[str, Any]:
    seconds, codes = [], []
    for _ in range(times):
        for one in replicas:
            seconds.append(round(one.end(signal.SIGTERM), 2))
            assert one.process is not None
            codes.append(one.process.returncode)
            one.start()
            one.wait_ready()
    return {"restarts": len(seconds), "stop_seconds": seconds, "exit_codes": codes}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--kills", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    photographs = draw_photographs(8)
    with tempfile.TemporaryDirectory() as base:
        ports = [free_port() for _ in range(options.replicas)]
        replicas = [Replica(port, options.weights, Path(base) / f"{port}.log") for port in ports]
        front = None
        try:
            for one in replicas:
                one.start()
            for one in replicas:
                one.wait_ready()
            front = Front(Path(base) / "nginx", ports, {})
            rng = random.Random(options.seed)
            ask = (front.address, photographs)
            killed = under_load(*ask, lambda: kill_at_random(replicas, options.kills, rng))
            rolled = under_load(*ask, lambda: restart_in_turn(replicas, options.rounds))
        finally:
            if front:
                front.stop()
            for one in replicas:
                if one.process:
                    one.process.kill()
                    one.process.wait()
    found = {"replicas": options.replicas, "killed": killed, "rolling": rolled}
    write_json(OUT, {**run_facts("replicas"), **found})
    print(found)
    return int(bool(killed["lost"] or rolled["lost"] or any(rolled["exit_codes"])))


if __name__ == "__main__":
    sys.exit(main())
