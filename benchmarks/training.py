"""Training throughput against a plain loop, alternating in one run on one machine.

    python -m benchmarks.training --device cpu --json [--backbone mobilenet_v2 --backbone ...]
                                  [--compile]

Ours: this library's loop (loader, augmentation, mixed precision where the hardware has it, channels
last, fused Adam, freed memory kept) on SE-ResNeXt50 at 128 px, batch 64. Plain: what a notebook
would run, eager float32, contiguous, the same augmentation, no workers. With --compile ours once
more, by the recipe's `training.compile`. Each has a process of its own, since what the C library is
told holds for all of one. All train on the same random array; each round times one after the other,
and the medians over the rounds are compared.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from benchmarks.facts import run_facts
from melanoma.data.arrays import ImageArray
from melanoma.data.augmentation import Augmentation
from melanoma.data.batches import load_batches, plan_epoch
from melanoma.data.loader_workers import resolve_workers
from melanoma.data.transforms import NORMALIZATIONS
from melanoma.devices import resolve_device, resolve_precision
from melanoma.freed_memory import keep_freed_memory
from melanoma.models.classifier import make_classifier
from melanoma.models.losses import binary_cross_entropy
from melanoma.recipe.overrides import make_recipe
from melanoma.training.epoch import train_epoch
from melanoma.training.state import start_state
from melanoma.training.training_network import training_network

BACKBONE = "se_resnext50_32x4d"
STEPS = (
    {"shift_scale_rotate": {"shift": 0.0625, "scale": 0.1, "rotate": 15, "p": 0.5}},
    {"flip_horizontal": {"p": 0.5}},
    {"flip_vertical": {"p": 0.5}},
)


def make_array(folder: Path, *, images: int, size: int) -> ImageArray:
    """Random pixels on disk: throughput does not depend on what they show."""
    pixels = np.random.default_rng(0).integers(0, 256, (images, size, size, 3), dtype=np.uint8)
    path = folder / f"x_train_{size}.npy"
    np.save(path, pixels)
    return ImageArray(path, size, tuple(map(str, range(images))), ("",) * images)


class Ours:
    """The library's own pieces, as loop.py puts them together."""

    def __init__(
        self,
        array: ImageArray,
        *,
        backbone: str,
        batch: int,
        device: torch.device,
        compiled: bool = False,
    ) -> None:
        if device.type == "cpu":
            keep_freed_memory()  # as fit_fold does while it trains
        self.recipe = make_recipe(
            {
                "name": "benchmark",
                "data": {"reader": "siim"},
                "folds": {"name": "benchmark"},
                "model": {"backbone": backbone},
                "augment": STEPS,
                "schedule": {"name": "constant"},
                "training": {"batch_size": batch, "compile": compiled},
            }
        )
        self.array, self.device = array, device
        self.precision = resolve_precision("auto", device)
        model = make_classifier(backbone, outputs=1).to(device)
        self.state = start_state(
            model.to(memory_format=torch.channels_last),
            self.recipe,
            precision=self.precision,
            device=device,
        )
        self.targets = np.arange(len(array.names)) % 2
        self.network = training_network(self.state)

    def epoch(self) -> int:
        rows = np.arange(len(self.array.names))
        rules = self.recipe.training
        plans = plan_epoch(
            rows,
            self.targets,
            sampler=self.recipe.sampler,
            batch_size=rules.batch_size,
            accumulate=1,
            seed=(0, self.state.epoch),
        )
        batches = load_batches(
            self.array,
            plans,
            workers=resolve_workers("auto", self.device),
            augmentation=Augmentation(self.recipe.augment),
            seed=(0,),
        )
        train_epoch(
            self.state,
            batches,
            targets=self.targets,
            normalize="imagenet",
            clip_norm=None,
            loss=partial(binary_cross_entropy, positive_weight=1.0, label_smoothing=0.0),
            precision=self.precision,
            planned=len(plans),
            after_step=lambda: None,
            network=self.network,
        )
        self.state.next_epoch()
        return len(rows)


class Plain:
    """The loop that a notebook has: load, augment, normalise, float32 forward, backward, step."""

    def __init__(
        self, array: ImageArray, *, backbone: str, batch: int, device: torch.device
    ) -> None:
        self.pixels = np.load(array.path, mmap_mode="r")
        self.batch, self.device = batch, device
        self.model = make_classifier(backbone, outputs=1).to(device).train()
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-4)
        self.augmentation = Augmentation(STEPS)

    def epoch(self) -> int:
        mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in NORMALIZATIONS["imagenet"])
        order = np.random.default_rng(0).permutation(len(self.pixels))
        for start in range(0, len(order), self.batch):
            rows = order[start : start + self.batch]
            images = [self.augmentation(self.pixels[row], seed=int(row)) for row in rows]
            x = torch.from_numpy(np.stack(images).transpose(0, 3, 1, 2).copy()).float() / 255
            x = ((x - mean) / std).to(self.device)
            y = torch.from_numpy(rows % 2).float().to(self.device)
            loss = F.binary_cross_entropy_with_logits(self.model(x)[:, 0], y)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        return len(order)


class Apart:
    """A contender in a process of its own."""

    def __init__(self, kind: type[Ours | Plain], **given: Any) -> None:
        self._pool = ProcessPoolExecutor(
            1, get_context("spawn"), initializer=_start, initargs=(kind, given)
        )

    def seconds(self) -> float:
        """Wall time of one epoch."""
        return self._pool.submit(_time_epoch).result()

    def peak_mb(self) -> int:
        """Of the process's memory so far."""
        return self._pool.submit(_peak_mb).result()

    def close(self) -> None:
        self._pool.shutdown()


_contender: Ours | Plain | None = None


def _start(kind: type[Ours | Plain], given: dict[str, Any]) -> None:
    global _contender
    torch.manual_seed(0)
    _contender = kind(**given)


def _time_epoch() -> float:
    assert _contender is not None
    start = time.perf_counter()
    _contender.epoch()
    if _contender.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def measure(
    *,
    backbone: str,
    device: torch.device,
    images: int,
    rounds: int,
    batch: int,
    size: int,
    compiled: bool = False,
) -> dict[str, object]:
    """The throughputs (medians over the rounds) and their ratios to the plain loop's."""
    kinds: dict[str, tuple[type[Ours | Plain], dict[str, Any]]] = {"": (Ours, {})}
    if compiled:
        kinds["compiled_"] = (Ours, {"compiled": True})
    kinds["plain_"] = (Plain, {})
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        array = make_array(Path(folder), images=images, size=size)
        given = {"array": array, "backbone": backbone, "batch": batch, "device": device}
        apart = {
            name: stack.enter_context(closing(Apart(kind, **given, **more)))
            for name, (kind, more) in kinds.items()
        }
        # The first round warms caches and allocators, and compiles.
        turns = [{name: one.seconds() for name, one in apart.items()} for _ in range(rounds + 1)]
        peaks = {f"{name}peak_mb": one.peak_mb() for name, one in apart.items()}
    found: dict[str, object] = {}
    for name in kinds:
        times = [turn[name] for turn in turns[1:]]
        found[f"{name}images_per_second"] = round(images / statistics.median(times), 2)
        if name != "plain_":
            ratios = [turn["plain_"] / turn[name] for turn in turns[1:]]
            found[f"{name}ratio"] = round(statistics.median(ratios), 3)
            found[f"{name}ratios"] = [round(ratio, 3) for ratio in ratios]
    return {
        **found,
        **peaks,
        "rounds": rounds,
        "model": backbone,
        "size": size,
        "batch": batch,
        "images": images,
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "precision": str(resolve_precision("auto", device)).removeprefix("torch."),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--images", type=int, default=192)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--compile", action="store_true", help="ours by torch.compile as well")
    parser.add_argument("--backbone", action="append", help=f"repeatable (default {BACKBONE})")
    args = parser.parse_args()
    networks = [
        measure(
            backbone=backbone,
            device=resolve_device(args.device),
            images=args.images,
            rounds=args.rounds,
            batch=args.batch,
            size=args.size,
            compiled=args.compile,
        )
        for backbone in args.backbone or [BACKBONE]
    ]
    if args.json:
        print(json.dumps({**run_facts("training"), "networks": networks}, indent=2))
        return
    for found in networks:
        print(
            f"{found['model']}: {found['images_per_second']} images/s, plain "
            f"{found['plain_images_per_second']}, ratio {found['ratio']}"
        )


if __name__ == "__main__":
    main()
