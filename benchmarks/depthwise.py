"""Depthwise convolutions' backward pass in bfloat16 on a processor: torch's own beside ours.

    python -m benchmarks.depthwise --threads 2

A row a shape (EfficientNet-Lite0's and MobileNetV2's at 128 px): forward and backward by torch and
by melanoma.training.depthwise, in turn, medians of the rounds, and how far the gradients are apart.
Then whole training steps of both networks. Writes results/benchmarks/depthwise.json.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.facts import run_facts
from melanoma.models.classifier import Classifier, make_classifier
from melanoma.storage import write_json
from melanoma.training.depthwise import faster_depthwise

OUT = Path("results/benchmarks/depthwise.json")
CPU = torch.device("cpu")
NETWORKS = ("mobilenet_v2", "efficientnet_lite0")
# Channels, side, kernel, stride: those that ours takes over.
SHAPES = (
    (96, 64, 3, 2),
    (144, 32, 5, 2),
    (240, 16, 5, 1),
    (240, 16, 3, 2),
    (480, 8, 5, 1),
    (672, 8, 5, 1),
    (672, 8, 5, 2),
    (1152, 4, 5, 1),
)


def in_turn(ways: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each way, one after the other in every round; the first round warms up."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, run in ways.items():
            start = time.perf_counter()
            run()
            if turn:
                found[name].append((time.perf_counter() - start) * 1e3)
    return found


def stated(times: dict[str, list[float]]) -> dict[str, Any]:
    """Medians, and the median of the rounds' ratios."""
    ratios = [a / b for a, b in zip(times["torch"], times["ours"], strict=True)]
    return {
        **{f"{name}_ms": round(statistics.median(each), 2) for name, each in times.items()},
        "ratio": round(statistics.median(ratios), 2),
    }


def faster(classifier: Classifier, *, ours: bool) -> AbstractContextManager[object]:
    """Ours, or nothing."""
    if not ours:
        return nullcontext()
    return faster_depthwise(classifier, CPU, torch.bfloat16, compiled=False)


def measure_shape(
    shape: tuple[int, int, int, int], batch: int, rounds: int, classifier: Classifier
) -> dict[str, Any]:
    """One row."""
    channels, side, kernel, stride = shape
    torch.manual_seed(0)
    images = torch.randn(batch, channels, side, side, dtype=torch.bfloat16)
    images = images.contiguous(memory_format=torch.channels_last).requires_grad_()
    weight = torch.randn(channels, 1, kernel, kernel, dtype=torch.bfloat16).requires_grad_()

    def run(*, ours: bool) -> tuple[Tensor, Tensor]:
        with faster(classifier, ours=ours):
            out = F.conv2d(
                images, weight, None, (stride,) * 2, (kernel // 2,) * 2, (1, 1), channels
            )
        first, second = torch.autograd.grad(out.float().square().sum(), (images, weight))
        return first, second

    times = in_turn({"torch": lambda: run(ours=False), "ours": lambda: run(ours=True)}, rounds)
    apart = [
        float((a.float() - b.float()).norm() / b.float().norm())
        for a, b in zip(run(ours=True), run(ours=False), strict=True)
    ]
    names = ("channels", "side", "kernel", "stride")
    gradients = {"relative_difference": [round(value, 5) for value in apart]}
    return {**dict(zip(names, shape, strict=True)), **stated(times), **gradients}


def measure_network(name: str, batch: int, rounds: int, size: int) -> dict[str, Any]:
    """Whole steps, optimizer included."""
    torch.manual_seed(0)
    network = make_classifier(name, outputs=7).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)
    images = torch.randn(batch, 3, size, size).contiguous(memory_format=torch.channels_last)
    target = torch.arange(batch) % 7

    def step(*, ours: bool) -> None:
        with torch.autocast("cpu", torch.bfloat16), faster(network, ours=ours):
            logits = network(images)
        F.cross_entropy(logits.float(), target).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    found = stated(
        in_turn({"torch": lambda: step(ours=False), "ours": lambda: step(ours=True)}, rounds)
    )
    speed = {
        f"{key}_images_per_second": round(batch / found[f"{key}_ms"] * 1e3, 1)
        for key in ("torch", "ours")
    }
    return {"network": name, "size": size, "batch": batch, **found, **speed}


def main() -> None:
    """Measure, print and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    network = make_classifier(NETWORKS[0], outputs=1)
    shapes = [measure_shape(one, given.batch, given.rounds, network) for one in SHAPES]
    steps = [measure_network(name, given.batch, given.rounds, given.size) for name in NETWORKS]
    for row in (*shapes, *steps):
        print(row)
    facts = {**run_facts("depthwise"), "batch": given.batch, "rounds": given.rounds}
    write_json(given.out, {**facts, "convolutions": shapes, "steps": steps})
    print(f"wrote {given.out}")


if __name__ == "__main__":
    main()
