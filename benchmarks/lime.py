"""LIME against the lime package, on the same ResNet-34 and photograph, in one run on one machine.

    OMP_NUM_THREADS=2 python -m benchmarks.lime --json

Ours: `explain_lime` over a Scorer with one member, on OpenVINO where it is installed (or
--backend torch), from decoded pixels to weights. Theirs: the lime
package as its users run it, quickshift with the original's parameters on the photograph, a
classifier that resizes each perturbed photograph to the same square and runs the same network in
eager float32. Both hide with black, fit all superpixels, and are asked for the same number of
evaluations. Weights are random: time does not depend on them. High is ours alone unless --full.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from benchmarks.facts import run_facts
from benchmarks.shipped import WEIGHTS
from melanoma.data.images import Pixels, decode_image, make_square
from melanoma.data.transforms import to_tensor
from melanoma.evaluation.calibration import Calibration
from melanoma.models.classifier import make_classifier
from melanoma.scoring.backends.backend_catalog import BACKENDS, choose_backend
from melanoma.scoring.backends.torch_members import TorchMembers
from melanoma.scoring.bundle.bundle import Bundle, Member, load_bundle
from melanoma.scoring.explain.explain_options import PRECISIONS
from melanoma.scoring.explain.explainers import explain_lime
from melanoma.scoring.explain.lime import KERNEL_SIZE, MAX_DIST, RATIO
from melanoma.scoring.members import Members
from melanoma.scoring.scorer import Scorer

BACKBONE = "resnet34"
WIDTH, HEIGHT = 600, 450


class RandomScorer(Scorer):
    """A Scorer over one network with random weights; everything else is the Scorer's own."""

    def __init__(self, size: int, backend: str = "torch") -> None:
        classes = ("benign", "melanoma")
        bundle = Bundle(
            folder=Path(),
            name="benchmark",
            version=1,
            digest="0" * 64,
            backbone=BACKBONE,
            classes=classes,
            melanoma=classes[1:],
            outputs=1,
            size=size,
            fit="squash",
            normalize="imagenet",
            views=1,
            folds_expected=1,
            members=(Member(0, Path("fold_0"), 0.0),),
            calibration=Calibration(slope=1.0, intercept=0.0, prevalence=0.5),
            thresholds=(),
            report=load_bundle(WEIGHTS).report,  # nothing here asks what it says
        )
        network = make_classifier(BACKBONE, outputs=1).eval()
        members = TorchMembers(
            {0: network.to(memory_format=torch.channels_last)},
            normalize=bundle.normalize,
            device=torch.device("cpu"),
        )
        super().__init__(bundle, members=_on(backend, members, size))


def _on(backend: str, members: TorchMembers, size: int) -> Members:
    if backend == "torch":
        return members
    from melanoma.scoring.backends.conversion import convert
    from melanoma.scoring.backends.openvino_members import OpenVinoMembers

    return OpenVinoMembers(convert(members, size=size), load=lambda: members)


def draw_photograph() -> Pixels:
    """A dark blot on textured skin: as many superpixels as a photograph of a mole."""
    rng = np.random.default_rng(0)
    texture = cv2.GaussianBlur(rng.normal(0, 1, (HEIGHT, WIDTH, 3)), (0, 0), 5)
    pixels = np.array([205, 165, 140]) + 120 * texture
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    inside = ((y - 210) / 120) ** 2 + ((x - 320) / 150) ** 2 < 1 + 2 * texture[..., 0]
    pixels[inside] -= (90, 95, 80)
    return pixels.clip(0, 255).astype(np.uint8)


def read_photograph(path: Path) -> Pixels:
    """A photograph at the benchmark's 600 x 450."""
    pixels = decode_image(path.read_bytes()).pixels
    return np.asarray(cv2.resize(pixels, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC), np.uint8)


def run_lime_package(scorer: RandomScorer, pixels: Pixels, evaluations: int) -> int:
    """Explain with the lime package; returns its number of superpixels."""
    from lime.lime_image import LimeImageExplainer
    from lime.wrappers.scikit_image import SegmentationAlgorithm

    network, bundle = scorer.classifiers[0], scorer.bundle

    def probabilities(images: Pixels) -> np.ndarray:
        squares = np.stack([make_square(i, size=bundle.size, fit=bundle.fit) for i in images])
        tensor = to_tensor(squares, normalize=bundle.normalize).contiguous()
        with torch.inference_mode():
            melanoma = network(tensor).sigmoid()[:, 0].numpy()
        return np.stack([1 - melanoma, melanoma], axis=1)

    found = LimeImageExplainer(random_state=0).explain_instance(
        pixels,
        probabilities,
        labels=(1,),
        top_labels=None,
        hide_color=0,
        num_samples=evaluations,
        segmentation_fn=SegmentationAlgorithm(
            "quickshift",
            kernel_size=KERNEL_SIZE,
            max_dist=MAX_DIST,
            ratio=RATIO,
            rng=0,
        ),
        random_seed=0,
    )
    return int(found.segments.max()) + 1


def seconds(work: Callable[[], Any]) -> tuple[float, float]:
    """Wall and CPU time of one call: on a busy machine the second says more."""
    start, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - start, time.process_time() - cpu


def measure(pixels: Pixels, *, size: int, rounds: int, full: bool, backend: str) -> dict[str, Any]:
    """Medians over the rounds, ours and theirs alternating, by precision."""
    torch.manual_seed(0)
    scorer = RandomScorer(size, backend)
    superpixels = len(explain_lime(scorer, pixels, precision="Low").weights)  # warms up
    found: dict[str, Any] = {}
    for precision, evaluations in PRECISIONS.items():
        ours: list[tuple[float, float]] = []
        theirs: list[tuple[float, float]] = []
        for _ in range(rounds):
            ours.append(seconds(partial(explain_lime, scorer, pixels, precision=precision)))
            if full or precision != "High":
                theirs.append(seconds(partial(run_lime_package, scorer, pixels, evaluations)))
        pairs = list(zip(ours, theirs, strict=False))
        found[precision] = {
            "evaluations": evaluations,
            **_median(ours),
            "lime": _median(theirs) if theirs else None,
            "ratio": round(statistics.median(b[0] / a[0] for a, b in pairs), 2) if pairs else None,
        }
    return {
        **run_facts("lime"),
        "precisions": found,
        "model": BACKBONE,
        "size": size,
        "photograph": f"{WIDTH} x {HEIGHT}",
        "superpixels": superpixels,
        "rounds": rounds,
        "backend": backend,
    }


def _median(times: list[tuple[float, float]]) -> dict[str, Any]:
    wall, cpu = zip(*times, strict=True)
    return {
        "seconds": round(statistics.median(wall), 2),
        "cpu_seconds": round(statistics.median(cpu), 2),
        "all_seconds": [round(t, 2) for t in wall],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image", type=Path, help="a photograph (default: one is drawn)")
    parser.add_argument("--size", type=int, default=224, help="the square that the network sees")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--full", action="store_true", help="the lime package at High too")
    parser.add_argument("--backend", choices=("auto", *BACKENDS), default="auto")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    pixels = read_photograph(args.image) if args.image else draw_photograph()
    backend = choose_backend(args.backend, "cpu")
    found = measure(pixels, size=args.size, rounds=args.rounds, full=args.full, backend=backend)
    if args.json:
        print(json.dumps(found, indent=2))
        return
    for precision, row in found["precisions"].items():
        theirs = f", lime {row['lime']['seconds']} s, ratio {row['ratio']}" if row["lime"] else ""
        print(f"{precision} ({row['evaluations']}): {row['seconds']} s{theirs}")


if __name__ == "__main__":
    main()
