"""predict --on ray by 1 and 2 workers: throughput, the model's share, memory, and a killed worker.

    python -m benchmarks.ray_scoring DIR --weights weights/dermoscopy_mobilenet --out FILE.json

A cluster of this machine alone, one core and one thread a worker, and the same photographs three
times: by one worker, by two, and by two of whom one is killed (SIGKILL) at a random moment.
Photographs a second are those of a quiet machine only. Photographs by a second of the processor's
time are nearly the same on a busy one: `gain_by_busy_second` near 1 says that a second worker takes
no more of it for the same work. The exit code is 1 where the two runs by two workers have not
exactly one row a file, with the scores of the first to 1e-6.

256 photographs take some three minutes on two quiet cores: each worker opens the bundle first.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks.facts import run_facts
from melanoma.cluster.predict_on_ray import find_named
from melanoma.cluster.ray_scoring import Scored, Scoring, score_on_ray
from melanoma.cluster.ray_session import import_ray
from melanoma.cluster.shards import NamedFile, ShardFolder
from melanoma.storage import write_json
from melanoma.workflows.watch import SILENT

SHARD = 16  # files: one batch, so that both workers have many, and a kill comes among them
MOST_DIFFERENCE = 1e-6


@dataclass
class Looked:
    """What is seen of a run from outside, ten times a second: the workers' memory, by how many
    parts are there; and one of them is killed at `kill_after` parts and `wait` seconds."""

    out: str
    kill_after: int | None = None
    wait: float = 0.0
    memory: list[tuple[int, int]] = field(default_factory=list)
    killed: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        folder = ShardFolder(self.out)
        while not self.over.wait(0.1):
            done = len(folder.finished())
            workers = _workers()
            for one in workers:
                with suppress(psutil.Error):
                    self.memory.append((done, one.memory_info().rss))
            if workers and not self.killed and self.kill_after and done >= self.kill_after:
                time.sleep(self.wait)
                with suppress(psutil.Error):
                    random.Random(done).choice(workers).kill()
                    self.killed += 1

    def megabytes(self, shards: int) -> list[int]:
        """The largest of a worker in the first and in the second half of the run."""
        halves: tuple[list[int], list[int]] = ([], [])
        for done, size in self.memory:
            halves[done * 2 >= shards].append(size)
        return [round(max(half, default=0) / 1e6) for half in halves]


def _workers() -> list[psutil.Process]:
    """The processes that hold a bundle."""
    found = []
    for one in psutil.process_iter(["cmdline"]):
        title = " ".join(one.info["cmdline"] or ())
        if title.startswith("ray::") and "MapWorker" in title:
            found.append(one)
    return found


def measure(
    files: Sequence[NamedFile], weights: Path, workers: int, rng: random.Random | None = None
) -> tuple[dict[str, Any], dict[str, float]]:
    """The figures of a run, and melanoma's probability by name; with `rng` a worker is killed."""
    ray = import_ray()
    ray.init("local", num_cpus=workers, log_to_driver=False, logging_level="ERROR")
    shards = -(-len(files) // SHARD)
    with tempfile.TemporaryDirectory() as out:
        looked = Looked(out)
        if rng is not None:
            looked.kill_after = rng.randint(1, max(1, shards // 2))
            looked.wait = rng.uniform(0, 1)
        looker = threading.Thread(target=looked.run)
        looker.start()
        try:
            scored = score_on_ray(
                ray, files, Scoring(weights, "cpu"), out, shard_size=SHARD, per_task="cpus=1"
            )
        finally:
            looked.over.set()
            looker.join()
            ray.shutdown()
        rows = read_rows(Path(out))
    assert len(rows) == scored.files == len(files), "not one row a file"
    return _figures(scored, workers, looked, shards), rows


def read_rows(out: Path) -> dict[str, float]:
    """Melanoma's probability by name. A name that stands twice ends the benchmark."""
    from pyarrow import parquet

    found: list[dict[str, Any]] = []
    for part in sorted(out.glob("part-*.parquet")):
        table = parquet.read_table(part, columns=["image_name", "melanoma_probability"])
        found += table.to_pylist()
    # One without a score has none in any run.
    rows = {row["image_name"]: row["melanoma_probability"] or -1.0 for row in found}
    assert len(rows) == len(found), "a file has two rows"
    return rows


def _figures(scored: Scored, workers: int, looked: Looked, shards: int) -> dict[str, Any]:
    by_worker = scored.work_seconds / workers
    return {
        "workers": workers,
        "killed": looked.killed,
        "images": scored.now,
        "images_per_second": round(scored.now / by_worker, 2),
        "images_per_busy_second": round(scored.now / scored.busy_seconds, 2),
        "threads_busy": round(scored.busy_seconds / scored.work_seconds, 2),
        "model_share": round(scored.model_seconds / scored.work_seconds, 3),
        "seconds": round(scored.seconds, 1),
        "seconds_beside_the_work": round(scored.seconds - by_worker, 1),
        "worker_megabytes_by_half": looked.megabytes(shards),
    }


def main() -> int:
    """Measure, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--count", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    # A thread a worker, and none of them behind whatever else runs here.
    os.environ |= {"OMP_NUM_THREADS": "1", "RAY_worker_niceness": "0"}
    files = find_named([options.images], data=None, image_col=None, watch=SILENT)
    files, weights = files[: options.count], options.weights.resolve()
    one, rows = measure(files, weights, 1)
    two, rows_of_two = measure(files, weights, 2)
    killed, rows_of_killed = measure(files, weights, 2, random.Random(options.seed))
    difference = max(
        abs(other[n] - rows[n]) for other in (rows_of_two, rows_of_killed) for n in rows
    )
    result = {
        **run_facts("ray_scoring"),
        "threads": 1,
        "load_average": round(os.getloadavg()[0], 1),
        "runs": [one, two, killed],
        "gain": _ratio(two, one, "images_per_second"),
        "gain_by_busy_second": _ratio(two, one, "images_per_busy_second"),
        "largest_difference": difference,
    }
    write_json(options.out, result)
    print(result)
    return int(difference > MOST_DIFFERENCE or not killed["killed"])


def _ratio(mine: dict[str, Any], other: dict[str, Any], name: str) -> float:
    return round(float(mine[name] / other[name]), 3)


if __name__ == "__main__":
    sys.exit(main())
