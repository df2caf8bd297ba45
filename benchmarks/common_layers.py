"""What it brings that layers which all members have in common are computed once, on OpenVINO.

    python -m benchmarks.common_layers           # a quarter of an hour on two quiet cores

Five networks with random weights, the first stages of all of them the first one's, as folds that
start from one file with `model.frozen_stages` have them, up to the whole backbone, as a frozen one
is. The same models with the common layers taken out and as they are, a call of each in turn, one
square and 16 over four views; medians over the rounds. The answers are compared too: bit by bit.
Writes results/benchmarks/common_layers.json.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any, cast

import numpy as np

from benchmarks.backends import call_in_turn, make_members, noise
from benchmarks.facts import run_facts
from melanoma.models.backbones import BACKBONES
from melanoma.models.classifier import Classifier
from melanoma.scoring.backends.common_layers import Networks, take_out_common
from melanoma.scoring.backends.core import import_openvino
from melanoma.scoring.backends.from_torch import from_torch
from melanoma.scoring.backends.openvino_members import OpenVinoMembers
from melanoma.scoring.backends.torch_members import TorchMembers
from melanoma.storage import write_json

OUT = Path("results/benchmarks/common_layers.json")
SIZE, VIEWS = 128, 4


def members_alike(backbone: str, stages: int) -> TorchMembers:
    """Five networks of which the first stages are one."""
    members = make_members(backbone, 5)
    first, *others = (cast(Classifier, network) for network in members.networks.values())
    stage = BACKBONES[backbone].stage
    for other in others:
        for name, value in first.backbone.state_dict().items():
            if stage(name) < stages:
                other.backbone.state_dict()[name].copy_(value)
    return members


def measure(backbone: str, stages: int, rounds: int) -> dict[str, Any]:
    """Milliseconds a square both ways, and how many times faster the common layers are."""
    reference = members_alike(backbone, stages)
    models = from_torch(reference, size=SIZE)
    ways = {
        "apart": OpenVinoMembers(Networks(models), load=lambda: reference),
        "common": OpenVinoMembers(take_out_common(models), load=lambda: reference),
    }
    whole = BACKBONES[backbone].stages
    found: dict[str, Any] = {"backbone": backbone, "stages": stages, "of": whole}
    for count in (1, 16):
        squares = noise(count, SIZE)
        answers = {name: one.logits(squares, views=VIEWS) for name, one in ways.items()}
        times, _ = call_in_turn(ways, squares, rounds, views=VIEWS)
        middle = {name: statistics.median(each) / count * 1000 for name, each in times.items()}
        ratios = [a / b for a, b in zip(times["apart"], times["common"], strict=True)]
        found[f"batch_{count}"] = {
            **{f"{name}_ms": round(each, 2) for name, each in middle.items()},
            "times_as_fast": round(statistics.median(ratios), 2),
            "equal": bool(np.array_equal(answers["apart"], answers["common"])),
        }
    return found


def main() -> None:
    """Measure, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    rows = []
    for backbone in ("mobilenet_v2", "se_resnext50_32x4d"):
        whole = BACKBONES[backbone].stages
        for stages in (0, 2, 3, whole):
            rows.append(measure(backbone, stages, given.rounds))
            print(rows[-1], flush=True)
    version = import_openvino().__version__
    facts = {**run_facts("common_layers"), "openvino": version, "views": VIEWS}
    write_json(given.out, {**facts, "networks": rows})


if __name__ == "__main__":
    main()
