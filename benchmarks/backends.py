"""Backends beside each other, in one run on one machine, and what the shipped bundle then does.

    python -m benchmarks.backends                # about 5 minutes on two quiet cores

Three parts. `ensembles`: the logits of five members with random weights (time does not depend on
them) in eager torch, OpenVINO float32 and bfloat16, a call of each in turn, for one square and for
16; medians over the rounds, wall and processor time, and the medians of each round's ratios.
`deviations`: the largest difference of a probability from torch's, over every backbone that is
offered, random weights and squares of noise. They go to results/benchmarks/backends.json.
`shipped`, to shipped_speed.json: the bundle that comes with the clone: photographs a second by
`predict DIR`, the time of one /predict and of one Grad-CAM by /explain, and from the start of the
service to its /readyz with the conversion in place.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch
from scipy.special import softmax

from benchmarks.facts import run_facts
from benchmarks.service import draw_photographs, free_port
from benchmarks.shipped import WEIGHTS
from melanoma.data.images import Pixels
from melanoma.devices import count_cores, has_bfloat16
from melanoma.models.backbones import BACKBONES
from melanoma.models.classifier import make_classifier
from melanoma.scoring.backends.conversion import convert
from melanoma.scoring.backends.core import import_openvino
from melanoma.scoring.backends.openvino_members import OpenVinoMembers
from melanoma.scoring.backends.torch_members import TorchMembers
from melanoma.scoring.bundle.bundle import load_bundle
from melanoma.scoring.members import Members
from melanoma.storage import write_json

OUT = Path("results/benchmarks")
ENSEMBLES = {"se_resnext50_32x4d": 128, "mobilenet_v2": 128, "resnet34": 224}
CPU = torch.device("cpu")
TORCH = "torch float32"


def make_members(backbone: str, folds: int) -> TorchMembers:
    """Networks with random weights, each its own."""
    torch.manual_seed(0)
    networks = {
        fold: make_classifier(backbone, outputs=7).eval().to(memory_format=torch.channels_last)
        for fold in range(folds)
    }
    return TorchMembers(networks, normalize="imagenet", device=CPU)


def beside(reference: TorchMembers, size: int) -> dict[str, Members]:
    """The same members on each backend and in each precision."""
    models = convert(reference, size=size)
    exact = OpenVinoMembers(models, load=lambda: reference)
    found: dict[str, Members] = {TORCH: reference, "openvino float32": exact}
    if has_bfloat16():
        half = OpenVinoMembers(models, load=lambda: reference, precision="bfloat16")
        found["openvino bfloat16"] = half
    return found


def noise(count: int, size: int) -> Pixels:
    """Squares of random bytes."""
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def call_in_turn(
    engines: Mapping[str, Members], squares: Pixels, rounds: int, *, views: int = 1
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Seconds of each call by the wall's clock and of the processor, a call of each in turn."""
    wall: dict[str, list[float]] = {name: [] for name in engines}
    cpu: dict[str, list[float]] = {name: [] for name in engines}
    for number in range(rounds + 1):
        for name, members in engines.items():
            start, spent = time.perf_counter(), time.process_time()
            members.logits(squares, views=views)
            if number:  # the first round warms up
                wall[name].append(time.perf_counter() - start)
                cpu[name].append(time.process_time() - spent)
    return wall, cpu


def time_in_turn(engines: Mapping[str, Members], squares: Pixels, rounds: int) -> dict[str, Any]:
    """Milliseconds an image of each, wall and processor, and how many times torch's rate."""
    wall, cpu = call_in_turn(engines, squares, rounds)
    return {
        name: {
            "ms_an_image": round(1000 * statistics.median(wall[name]) / len(squares), 2),
            "cpu_ms_an_image": round(1000 * statistics.median(cpu[name]) / len(squares), 2),
            "times_torch": round(
                statistics.median(a / b for a, b in zip(wall[TORCH], wall[name], strict=True)), 2
            ),
            "times_torch_cpu": round(
                statistics.median(a / b for a, b in zip(cpu[TORCH], cpu[name], strict=True)), 2
            ),
        }
        for name in engines
    }


def time_ensembles(rounds: int) -> list[dict[str, Any]]:
    """A row an ensemble and batch."""
    rows = []
    for backbone, size in ENSEMBLES.items():
        engines = beside(make_members(backbone, 5), size)
        for batch in (1, 16):
            found = time_in_turn(engines, noise(batch, size), rounds)
            rows.append({"backbone": backbone, "size": size, "batch": batch, "engines": found})
            print(
                backbone, size, batch, {k: v["times_torch"] for k, v in found.items()}, flush=True
            )
    return rows


def measure_deviations() -> dict[str, dict[str, float]]:
    """The largest change of a probability by backbone and engine."""
    found: dict[str, dict[str, float]] = {}
    for backbone in BACKBONES:
        engines = beside(make_members(backbone, 1), 64)
        logits = {name: one.logits(noise(8, 64), views=2) for name, one in engines.items()}
        # Random weights give logits of any size: at a spread of 1 no probability is certain.
        spread = float(logits[TORCH].std()) or 1.0
        answers = {name: softmax(found / spread, axis=2) for name, found in logits.items()}
        found[backbone] = {
            name: float(f"{np.abs(answer - answers[TORCH]).max():.2g}")
            for name, answer in answers.items()
            if name != TORCH
        }
        print(backbone, found[backbone], flush=True)
    return found


def time_predict(count: int, *options: str) -> dict[str, float]:
    """`predict DIR` over `count` JPEG files of 600 x 450, its start left out: the time of as many
    again, in one folder."""
    drawn = draw_photographs(count)
    with tempfile.TemporaryDirectory() as temporary:
        seconds = []
        for files in (16, count):
            folder = Path(temporary) / str(files)
            folder.mkdir()
            for number, data in enumerate(drawn[:files]):
                (folder / f"{number:05}.jpg").write_bytes(data)
            command = [sys.executable, "-m", "melanoma.predict", str(folder), *options]
            command += ["--weights", str(WEIGHTS), "--out", str(Path(temporary) / "scores.csv")]
            start = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            seconds.append(time.perf_counter() - start)
    rate = (count - 16) / (seconds[1] - seconds[0])
    return {
        "photographs_a_second": round(rate, 1),
        "start_seconds": round(seconds[0] - 16 / rate, 1),
    }


def time_service(rounds: int, *options: str) -> dict[str, float]:
    """Seconds from the start to /readyz, and milliseconds of one /predict after another."""
    port, photographs = free_port(), draw_photographs(8)
    command = [sys.executable, "-m", "melanoma.serve", "--weights", str(WEIGHTS), *options]
    start = time.perf_counter()
    process = subprocess.Popen([*command, "--port", str(port)], stderr=subprocess.DEVNULL)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            while not _ready(client):
                time.sleep(0.05)
            ready = time.perf_counter() - start

            def ask(path: str, number: int, **data: str) -> None:
                file = {"file": photographs[number % 8]}
                client.post(path, files=file, data=data).raise_for_status()

            times = [_seconds(partial(ask, "/predict", n)) for n in range(rounds)]
            maps = [
                _seconds(partial(ask, "/explain", n, method="gradcam")) for n in range(rounds // 2)
            ]
    finally:
        process.terminate()
        process.wait()
    p50, p95 = np.percentile(times[3:], [50, 95]).tolist()
    return {
        "ready_seconds": round(ready, 2),
        "predict_ms_p50": round(1000 * p50, 1),
        "predict_ms_p95": round(1000 * p95, 1),
        "gradcam_ms_p50": round(1000 * float(np.percentile(maps[1:], 50)), 1),
    }


def _ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False


def _seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure_shipped(count: int, rounds: int) -> dict[str, Any]:
    """The shipped bundle by engine."""
    engines = {TORCH: ("torch", "float32"), "openvino float32": ("openvino", "float32")}
    if has_bfloat16():
        engines["openvino bfloat16"] = ("openvino", "bfloat16")
    found = {}
    for name, (backend, precision) in engines.items():
        options = ("--backend", backend, "--precision", precision)
        time_service(4, *options)  # converts, where that is still to do
        found[name] = {**time_service(rounds, *options), **time_predict(count, *options)}
        print(name, found[name], flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--photographs", type=int, default=400, help="that predict DIR scores")
    parser.add_argument("--part", choices=("ensembles", "shipped"), help="default: both")
    parser.add_argument("--out", type=Path, default=OUT, help="the folder of both files")
    args = parser.parse_args()
    shared = {
        **run_facts("backends"),
        "openvino": import_openvino().__version__,
        "cores": count_cores(),
        "bfloat16": has_bfloat16(),
    }
    if args.part != "shipped":
        ensembles = {"ensembles": time_ensembles(args.rounds), "deviations": measure_deviations()}
        write_json(args.out / "backends.json", {**shared, **ensembles})
    if args.part != "ensembles":
        views = load_bundle(WEIGHTS).views
        engines = measure_shipped(args.photographs, 40)
        write_json(args.out / "shipped_speed.json", {**shared, "views": views, "engines": engines})
    print(f"wrote into {args.out}")


if __name__ == "__main__":
    main()
