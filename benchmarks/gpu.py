"""What a GPU makes of this library: training against timm's loop, loading, a bundle, resuming.

    python -m benchmarks.gpu --out results/benchmarks/gpu.json
    python -m benchmarks.gpu --tiny --device cpu        # the same code in a minute, to try it

SE-ResNeXt50 at 128 px, mixed precision, channels last, AdamW and an average of the weights in both
loops; each round times one after the other in this one process. Needs timm for the comparison.
Every part is written to --out as it ends, and one that fails leaves its error there.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
import yaml

from benchmarks.facts import run_facts
from benchmarks.gpu_loops import BACKBONE, Ours, Setting, Timm
from benchmarks.gpu_measure import (
    busy_share,
    ceiling,
    graphed,
    rate_of,
    seconds_of,
    training_operations,
)
from benchmarks.gpu_resume import measure_resume
from benchmarks.training import make_array
from melanoma.data.augmentation import Augmentation
from melanoma.data.batches import augment_batches, load_batches, plan_epoch
from melanoma.data.device_augmentation.device_augmentation import DeviceAugmentation
from melanoma.devices import resolve_device
from melanoma.models.classifier import make_classifier, make_faster
from melanoma.recipe.sections import Sampler
from melanoma.training.epoch import predict_logits

MEMBERS = 5


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    images: int = 4096
    size: int = 128
    compared: tuple[int, ...] = (64,)  # batches in the loops
    batches: tuple[int, ...] = (64, 256)  # and of what lies on the device
    rounds: int = 3
    scored: tuple[int, ...] = (1, 16, 64, 256)
    product: int = 8192
    times: int = 20


TINY = Sizes(
    images=8, size=32, compared=(4,), batches=(4,), rounds=1, scored=(1, 2), product=64, times=1
)
Part = Callable[[Setting, Sizes, dict[str, Any]], Any]
_CONTENDERS: dict[str, Callable[[Setting], Ours | Timm]] = {
    "ours": Ours,
    "without graphs": partial(Ours, cuda_graphs=False),
    "timm": Timm,
}


def measure_ceiling(setting: Setting, sizes: Sizes, _: dict[str, Any]) -> dict[str, float]:
    """The card's own limits, and what an image costs."""
    network = make_classifier(BACKBONE, outputs=1).to(setting.device)
    images = torch.randn(2, 3, sizes.size, sizes.size, device=setting.device)
    return {
        "bfloat16_tflops": ceiling(setting.device, size=sizes.product) / 1e12,
        "training_gflop_an_image": training_operations(network, images) / 1e9,
    }


def measure_loading(setting: Setting, sizes: Sizes, _: dict[str, Any]) -> dict[str, Any]:
    """Images a second of the loader alone, for the card's augmentation and the winner's; and of
    the loader with the device that augments."""
    winner = yaml.safe_load(Path("configs/siim_seresnext50_best.yaml").read_text())["augment"]
    found: dict[str, Any] = {"workers": setting.workers}
    for name, steps in (("the card's list", setting.steps), ("the winner's list", winner)):
        for kind, where in ((Augmentation, ""), (DeviceAugmentation, ", on the device")):
            load = partial(_load, setting, sizes, kind(steps))
            if where:
                load()  # warms its tables, kernels and allocator
            found[name + where] = rate_of(load, setting.device)
    return found


def _load(setting: Setting, sizes: Sizes, augmentation: Augmentation) -> int:
    rows, targets = torch.arange(sizes.images).numpy(), (torch.arange(sizes.images) % 2).numpy()
    plans = plan_epoch(
        rows, targets, sampler=Sampler(), batch_size=setting.batch, accumulate=1, seed=(0,)
    )
    loaded = load_batches(
        setting.array, plans, workers=setting.workers, augmentation=augmentation, seed=(0,)
    )
    return sum(len(batch.rows) for batch in augment_batches(loaded, setting.device))


def measure_loops(setting: Setting, sizes: Sizes, _: dict[str, Any]) -> list[dict[str, Any]]:
    """Ours, ours without its CUDA graphs, and timm's at each batch size, in turns."""
    found = []
    for batch in sizes.compared:
        now = replace(setting, batch=batch)
        contenders = {name: make(now) for name, make in _CONTENDERS.items()}
        for loop in contenders.values():
            rate_of(loop.epoch, setting.device)  # warms allocators, workers, cuDNN, graphs
        rounds = [
            {name: rate_of(loop.epoch, setting.device) for name, loop in contenders.items()}
            for _ in range(sizes.rounds)
        ]
        line: dict[str, Any] = {"batch": batch}
        for name in contenders:
            line[f"{name}, images/s"] = statistics.median(one[name] for one in rounds)
        line["ours / timm"] = statistics.median(one["ours"] / one["timm"] for one in rounds)
        line["ours / timm, by round"] = [one["ours"] / one["timm"] for one in rounds]
        found.append(line)
    return found


def measure_waiting(setting: Setting, sizes: Sizes, _: dict[str, Any]) -> dict[str, Any]:
    """The share of the time in which the GPU computes, in each loop."""
    if setting.device.type != "cuda":
        return {}
    found: dict[str, Any] = {"batch": sizes.compared[0]}
    for name, make in _CONTENDERS.items():
        loop = make(replace(setting, batch=sizes.compared[0]))
        loop.epoch()  # warms allocators, workers, cuDNN, graphs
        found[name] = busy_share(loop.epoch)
    return found


def measure_steps(setting: Setting, sizes: Sizes, known: dict[str, Any]) -> list[dict[str, Any]]:
    """Our steps on batches that lie on the device: what is left when nothing is loaded."""
    cost = known["ceiling"]["training_gflop_an_image"] / 1e3
    top = known["ceiling"]["bfloat16_tflops"]
    found = []
    for batch in sizes.batches:
        ours = Ours(replace(setting, batch=batch))
        ours.keep_resident(max(2, sizes.images // batch))
        rate_of(ours.epoch, setting.device)
        rates = [rate_of(ours.epoch, setting.device) for _ in range(sizes.rounds)]
        rate = statistics.median(rates)
        line = {"batch": batch, "images_per_second": rate, "share_of_ceiling": rate * cost / top}
        if setting.device.type == "cuda":
            line["busy"] = busy_share(ours.epoch)
        found.append(line)
    return found


def measure_compiled(setting: Setting, sizes: Sizes, known: dict[str, Any]) -> dict[str, Any]:
    """training.compile, at the loops' batch, on batches that lie on the device and in the loop."""
    now = replace(setting, batch=sizes.compared[0])
    ours = Ours(now, compiled=True)
    start = time.perf_counter()
    rate_of(ours.epoch, setting.device)  # compiles
    first = time.perf_counter() - start
    rates = [rate_of(ours.epoch, setting.device) for _ in range(sizes.rounds)]
    ours.keep_resident(max(2, sizes.images // now.batch))
    resident = statistics.median(rate_of(ours.epoch, setting.device) for _ in range(sizes.rounds))
    cost = known["ceiling"]["training_gflop_an_image"] / 1e3
    return {
        "batch": now.batch,
        "first_epoch_seconds": first,
        "loop_images_per_second": statistics.median(rates),
        "resident_images_per_second": resident,
        "share_of_ceiling": resident * cost / known["ceiling"]["bfloat16_tflops"],
    }


def measure_bundle(setting: Setting, sizes: Sizes, _: dict[str, Any]) -> list[dict[str, Any]]:
    """Images a second of five members: as they are served, in bfloat16, and as a CUDA graph."""
    members = [
        make_classifier(BACKBONE, outputs=1).eval().to(setting.device) for _ in range(MEMBERS)
    ]
    members = [member.to(memory_format=torch.channels_last) for member in members]
    faster = [make_faster(member, torch.bfloat16) for member in members]
    found = []
    for batch in sizes.scored:
        images = torch.randn(batch, 3, sizes.size, sizes.size, device=setting.device)
        half = images.to(torch.bfloat16)
        calls = {
            "float32": lambda i=images: [predict_logits(m, i, views=1) for m in members],
            "bfloat16": lambda i=half: [predict_logits(m, i, views=1) for m in faster],
        }
        line: dict[str, Any] = {"batch": batch}
        for name, call in calls.items():
            line[name] = batch / seconds_of(call, setting.device, times=sizes.times)
            if setting.device.type == "cuda":
                line[f"{name}, CUDA graph"] = batch / seconds_of(
                    graphed(call), setting.device, times=sizes.times
                )
        found.append(line)
    return found


def _resume(setting: Setting, sizes: Sizes, _: dict[str, Any]) -> dict[str, Any]:
    return measure_resume(setting.device, tiny=sizes is TINY)


# In the order of their worth: the time may run out.
PARTS: dict[str, Part] = {
    "ceiling": measure_ceiling,
    "loops": measure_loops,
    "waiting": measure_waiting,
    "steps": measure_steps,
    "loading": measure_loading,
    "bundle": measure_bundle,
    "resume": _resume,
    "compiled": measure_compiled,
}


def facts() -> dict[str, Any]:
    """run_facts with what else decides these numbers."""
    found = run_facts("gpu")
    for name in ("timm", "torchvision", "numpy", "albumentations"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    if torch.cuda.is_available():
        found["cuda"], found["cudnn"] = torch.version.cuda, torch.backends.cudnn.version()
    return found


def run(args: argparse.Namespace) -> dict[str, Any]:
    """All parts, each written as it ends."""
    device = resolve_device(args.device)
    torch.backends.cudnn.benchmark = device.type == "cuda"  # as training sets it
    sizes = TINY if args.tiny else Sizes()
    found: dict[str, Any] = {**facts(), "model": BACKBONE, "size": sizes.size, "seconds": {}}
    if args.commit:
        found["commit"] = args.commit
    with tempfile.TemporaryDirectory() as folder:
        array = make_array(Path(folder), images=sizes.images, size=sizes.size)
        setting = Setting(array, device, sizes.batches[0])
        found["precision"] = str(setting.precision).removeprefix("torch.")
        found["workers"] = setting.workers
        for name in args.part or PARTS:
            start = time.perf_counter()
            try:
                found[name] = PARTS[name](setting, sizes, found)
            except Exception:
                found[name] = {"error": traceback.format_exc(limit=4)}
            found["seconds"][name] = round(time.perf_counter() - start, 1)
            if device.type == "cuda":
                torch.cuda.empty_cache()
            if args.out:
                args.out.parent.mkdir(parents=True, exist_ok=True)
                args.out.write_text(json.dumps(_rounded(found), indent=2) + "\n")
            print(f"{name} ({found['seconds'][name]} s)", json.dumps(_rounded(found[name])))
    return found


def _rounded(value: Any) -> Any:
    """Floats with four digits, in whatever holds them."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list | tuple) else value


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--tiny", action="store_true", help="a few images, to try the code")
    parser.add_argument("--part", action="append", choices=PARTS, help="repeatable")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--commit", help="where git cannot say it")
    run(parser.parse_args())


if __name__ == "__main__":
    main()
