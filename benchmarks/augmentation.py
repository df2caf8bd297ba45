"""What augmentation costs on a core: a recipe's list, each of its steps, and plain albumentations.

    python -m benchmarks.augmentation --array x_train_128.npy

Ours is the list by Augmentation, seeded for each image as training does. Plain is an albumentations
Compose of the winner's list as its publication has it, called image by image without a seed. Beside
them training.augment_on: device, in batches: what the loader draws on a core, and what the device
does with it (one thread of the CPU, and a GPU where there is one). All run on the same photographs
in turn, one thread; figures are medians of the rounds, of processor time but for the GPU, and only
their ratio means something on a busy machine. Writes results/benchmarks/augmentation.json.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import albumentations as A
import cv2
import numpy as np
import torch

from benchmarks.facts import run_facts
from melanoma.data.augmentation import Augmentation
from melanoma.data.device_augmentation.device_augmentation import DeviceAugmentation
from melanoma.data.images import Pixels
from melanoma.recipe.find_recipe import find_recipe
from melanoma.recipe.overrides import load_recipe
from melanoma.storage import write_json

OUT = Path("results/benchmarks/augmentation.json")
BATCH = 64
Step = dict[str, dict[str, Any]]


def plain_list() -> Callable[[Pixels], Pixels]:
    """The winner's list of 2020 (siim_seresnext50_best's) in albumentations' own words."""
    border = cv2.BORDER_REFLECT_101
    compose = A.Compose(
        [
            A.Transpose(p=0.5),
            A.VerticalFlip(p=0.5),
            A.HorizontalFlip(p=0.5),
            A.RandomBrightnessContrast(0.2, 0.2, p=0.75),
            A.OneOf(
                [
                    A.MotionBlur(blur_limit=(3, 3), p=0.5),
                    A.MedianBlur(blur_limit=(3, 3), p=0.5),
                    A.GaussianBlur(blur_limit=(3, 3), p=0.5),
                    A.GaussNoise(std_range=(0.02, 0.04), p=0.5),
                ],
                p=0.7,
            ),
            A.OneOf(
                [
                    A.OpticalDistortion(distort_limit=0.5, p=0.5),
                    A.GridDistortion(num_steps=5, distort_limit=0.5, p=0.5),
                    A.ElasticTransform(alpha=3, p=0.5),
                ],
                p=0.7,
            ),
            A.CLAHE(clip_limit=4.0, p=0.7),
            A.HueSaturationValue(10, 20, 10, p=0.5),
            A.Affine(
                translate_percent={"x": (-0.1, 0.1), "y": (-0.1, 0.1)},
                scale=(0.9, 1.1),
                rotate=(-15, 15),
                keep_ratio=True,
                border_mode=border,
                p=0.85,
            ),
            A.CoarseDropout(
                num_holes_range=(1, 1),
                hole_height_range=(0.375, 0.375),
                hole_width_range=(0.375, 0.375),
                p=0.7,
            ),
        ]
    )
    return lambda pixels: compose(image=pixels)["image"]


def microseconds(augment: Callable[[Pixels, int], Pixels], pixels: Pixels) -> float:
    """Of this process's own time an image: what others do on the machine is not in it."""
    start = time.process_time()
    for seed, one in enumerate(pixels):
        augment(one, seed)
    return (time.process_time() - start) / len(pixels) * 1e6


def seeded(steps: list[Step]) -> Callable[[Pixels, int], Pixels]:
    """The steps as training calls them."""
    augmentation = Augmentation(steps)
    return lambda pixels, seed: augmentation(pixels, seed=seed)


def each_step(steps: list[Step]) -> dict[str, list[Step]]:
    """Every step by itself, always happening; those within a one_of too."""
    found: dict[str, list[Step]] = {}
    for step in steps:
        name, given = next(iter(step.items()))
        inner = given.get("of")
        if inner is not None:
            found |= each_step(inner)
        else:
            found[name] = [{name: {**given, "p": 1.0}}]
    return found


def measure(pixels: Pixels, steps: list[Step], rounds: int) -> dict[str, Any]:
    """Images a second of both lists and their ratio, and microseconds of each step."""
    ours, plain = seeded(steps), plain_list()
    pairs = []
    for turn in range(rounds + 1):
        pair = microseconds(ours, pixels), microseconds(lambda one, _: plain(one), pixels)
        pairs += [pair] if turn else []  # the first warms up
    few = pixels[: max(16, len(pixels) // 4)]
    named = each_step(steps)
    single = {
        name: statistics.median(microseconds(seeded(step), few) for _ in range(rounds))
        for name, step in named.items()
    }
    own, other = (statistics.median(times) for times in zip(*pairs, strict=True))
    return {
        "size": pixels.shape[1],
        "images": len(pixels),
        "rounds": rounds,
        "images_per_second": round(1e6 / own),
        "plain_images_per_second": round(1e6 / other),
        "ratio": round(statistics.median(b / a for a, b in pairs), 2),
        "microseconds_of_a_step": {name: round(value) for name, value in single.items()},
        "microseconds_of_none": round(microseconds(seeded([]), few)),
    }


def device_rates(
    pixels: Pixels, steps: list[Step], device: torch.device, clock: Callable[[], float]
) -> tuple[float, float]:
    """Images a second that a core draws, and that the device augments, over all batches."""
    augmentation, drawing, doing = DeviceAugmentation(steps), 0.0, 0.0
    batches = [pixels[n : n + BATCH] for n in range(0, len(pixels), BATCH)]
    for number, batch in enumerate(batches):
        start = time.process_time()
        drawn = augmentation.draw(
            range(number * BATCH, number * BATCH + len(batch)), size=batch.shape[1]
        )
        drawing += time.process_time() - start
        there = torch.from_numpy(batch).to(device)
        _settle(device)
        start = clock()
        drawn.apply(there)
        _settle(device)
        doing += clock() - start
    return len(pixels) / drawing, len(pixels) / doing


def _settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def measure_device(pixels: Pixels, steps: list[Step], rounds: int) -> dict[str, Any]:
    """What measure has, of the steps by batch on the CPU and on a GPU."""
    places = {"cpu": time.process_time}
    if torch.cuda.is_available():
        places["cuda"] = time.perf_counter
    found: dict[str, Any] = {"batch": BATCH}
    for name, clock in places.items():
        device = torch.device(name)
        rates = [device_rates(pixels, steps, device, clock) for _ in range(rounds + 1)][1:]
        drawing, doing = (statistics.median(each) for each in zip(*rates, strict=True))
        found["drawn_images_per_second"] = round(drawing)
        found[f"{name}_images_per_second"] = round(doing)
    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
    return found


def main() -> None:
    """Measure, print and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--array", type=Path, required=True, help="x_train_S.npy of photographs")
    parser.add_argument("--config", default="siim_seresnext50_best", help="whose list is ours")
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    pixels = np.array(np.load(given.array, mmap_mode="r")[: given.images])
    steps = list(load_recipe(find_recipe(Path(given.config))).augment)
    facts = run_facts("augmentation")
    facts["command"] = facts["command"].replace(str(given.array), given.array.name)
    torch.set_num_threads(1)
    found = {
        **facts,
        "albumentations": A.__version__,
        **measure(pixels, steps, given.rounds),
        "augment_on_device": measure_device(pixels, steps, given.rounds),
    }
    write_json(given.out, found)
    print(
        f"{found['images_per_second']:,} images/s a core, plain albumentations "
        f"{found['plain_images_per_second']:,}, ratio {found['ratio']}; wrote {given.out}"
    )
    rates = {k: v for k, v in found["augment_on_device"].items() if k.endswith("_second")}
    print(
        "by batch:", ", ".join(f"{k.removesuffix('_per_second')} {v:,}/s" for k, v in rates.items())
    )


if __name__ == "__main__":
    main()
