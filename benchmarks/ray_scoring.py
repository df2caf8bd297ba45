"""Throughput of predict --on ray by 1 and 2 workers: the model's time, the rest, and memory.

    python -m benchmarks.ray_scoring DIR --weights weights/ham10000_mobilenet --out FILE.json

A cluster of this machine alone, one core a worker, both runs after another on the same photographs.
Meant for a machine with nothing else to do: two workers on busy cores gain nothing.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
from pathlib import Path
from typing import Any

import psutil

from benchmarks.facts import run_facts
from melanoma.cluster.predict_on_ray import find_named
from melanoma.cluster.ray_scoring import Scoring, score_on_ray
from melanoma.cluster.ray_session import import_ray
from melanoma.workflows.watch import SILENT

SHARD = 128  # files: small enough that both workers have several


def measure(files: list[Any], weights: Path, workers: int) -> dict[str, Any]:
    """Images a second of the workers' own time and of the whole run, and the largest memory."""
    ray = import_ray()
    ray.init("local", num_cpus=workers, log_to_driver=False, logging_level="ERROR")
    try:
        with tempfile.TemporaryDirectory() as out:
            scored = score_on_ray(
                ray, files, Scoring(weights, "cpu"), out, shard_size=SHARD, per_task="cpus=1"
            )
            largest = max(
                (one.memory_info().rss for one in psutil.process_iter() if _is_worker(one)),
                default=0,
            )
    finally:
        ray.shutdown()
    return {
        "workers": scored.workers,
        "images": scored.now,
        "images_per_second": round(scored.now / (scored.work_seconds / scored.workers), 2),
        "model_share": round(scored.model_seconds / scored.work_seconds, 3),
        "start_seconds": round(scored.seconds - scored.work_seconds / scored.workers, 1),
        "worker_megabytes": round(largest / 1e6),
        "command_megabytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3),
    }


def _is_worker(process: psutil.Process) -> bool:
    try:
        return "MapWorker" in " ".join(process.cmdline())
    except psutil.Error:
        return False


def main() -> None:
    """Measure, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--count", type=int, default=2048)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    files = find_named([options.images], data=None, image_col=None, watch=SILENT)
    chosen = files[: options.count]
    found = [measure(chosen, options.weights.resolve(), workers) for workers in (1, 2)]
    gain = found[1]["images_per_second"] / found[0]["images_per_second"]
    result = {**run_facts("ray_scoring"), "runs": found, "gain": round(gain, 3)}
    options.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
