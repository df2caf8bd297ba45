"""Scorers whose networks read known places of a photograph, so that the right answer is known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from melanoma.evaluation.calibration import Calibration
from melanoma.evaluation.measure.operating_points import Threshold
from melanoma.models.classifier import Classifier
from melanoma.scoring.backends.torch_members import TorchMembers
from melanoma.scoring.bundle.bundle import Bundle, Member
from melanoma.scoring.explain.evidence import Evidence
from melanoma.scoring.members import Check, Members, Outputs, go_on
from melanoma.scoring.scorer import Scorer

SIZE = 64
GAIN = 400.0  # of a logit, per mean brightness of the whole square


class Box(NamedTuple):
    """A place in shares of the square's height and width."""

    top: float
    left: float
    bottom: float
    right: float

    def mask(self, height: int, width: int) -> np.ndarray:
        found = np.zeros((height, width), bool)
        found[
            round(self.top * height) : round(self.bottom * height),
            round(self.left * width) : round(self.right * width),
        ] = True
        return found


class Windows(nn.Module):
    """A feature map a box: the brightness, in [0, 1], inside of it."""

    def __init__(self, boxes: Sequence[Box], size: int) -> None:
        super().__init__()
        masks = np.stack([box.mask(size, size) for box in boxes])
        self.register_buffer("masks", torch.from_numpy(masks).float())

    def forward(self, images: Tensor) -> Tensor:
        bright = (images.mean(dim=1, keepdim=True) + 1) / 2  # "half" scales to [-1, 1]
        return bright * self.masks


class CountedMembers:
    """The real members, whose squares are counted in `asked` as they are asked about, and the
    views of each time in `viewed`."""

    def __init__(self, members: Members, asked: list[int], viewed: list[int]) -> None:
        self._members, self.asked, self.viewed = members, asked, viewed
        self.backend, self.folds = members.backend, members.folds
        self.precision = members.precision

    @property
    def networks(self) -> dict[int, Classifier]:
        return self._members.networks

    def logits(self, squares: np.ndarray, *, views: int, check: Check = go_on) -> np.ndarray:
        return self._counted(self._members.logits(squares, views=views, check=check), views)

    def outputs(self, squares: np.ndarray, *, views: int, check: Check = go_on) -> Outputs:
        outputs = self._members.outputs(squares, views=views, check=check)
        self._counted(outputs.logits, views)
        return outputs

    def _counted(self, logits: np.ndarray, views: int) -> np.ndarray:
        """The logits; whoever was stopped before them is not counted."""
        self.asked.append(len(logits))
        self.viewed.append(views)
        return logits

    def heat(self, square: np.ndarray, evidence: Evidence) -> list[np.ndarray]:
        return self._members.heat(square, evidence)

    def alone(self) -> list[Members]:
        first, *others = self._members.alone()  # a question is one, whoever answers
        return [CountedMembers(first, self.asked, self.viewed), *others]

    def reference(self) -> TorchMembers:
        return self._members.reference()

    def faster(self) -> CountedMembers:
        return CountedMembers(self._members.faster(), self.asked, self.viewed)


class ToyScorer(Scorer):
    """The real scorer over given networks, whose images are counted as they come."""

    def __init__(self, bundle: Bundle, networks: Sequence[Classifier]) -> None:
        self.asked: list[int] = []
        self.viewed: list[int] = []
        members = TorchMembers(
            dict(enumerate(networks)), normalize=bundle.normalize, device=torch.device("cpu")
        )
        super().__init__(bundle, members=CountedMembers(members, self.asked, self.viewed))

    @property
    def classifiers(self) -> dict[int, Classifier]:
        return self.members.networks

    def of_fold(self, fold: int) -> Scorer:
        network = self.classifiers[fold]
        alone = TorchMembers({fold: network}, normalize=self.bundle.normalize, device=self.device)
        return Scorer(self.bundle, members=alone)


def read_boxes(boxes: Sequence[Box], *, size: int = SIZE) -> Classifier:
    """One output that rises with the brightness of one box, or an output a box."""
    network = Classifier(Windows(boxes, size), features=len(boxes), outputs=len(boxes))
    nn.init.zeros_(network.head.bias)
    network.head.weight.data = GAIN * torch.eye(len(boxes))
    return network


def make_scorer(
    networks: Sequence[Classifier],
    *,
    classes: tuple[str, ...] = ("benign", "melanoma"),
    melanoma: tuple[str, ...] = ("melanoma",),
    size: int = SIZE,
    fit: str = "squash",
    views: int = 1,
) -> ToyScorer:
    outputs = networks[0].head.out_features
    bundle = Bundle(
        folder=Path(),
        name="toy",
        version=1,
        digest="0" * 64,
        backbone="toy",
        classes=classes,
        melanoma=melanoma,
        outputs=outputs,
        size=size,
        fit=fit,
        normalize="half",
        views=views,
        folds_expected=len(networks),
        members=tuple(Member(n, Path(f"fold_{n}"), 0.0) for n in range(len(networks))),
        # Centred, so that probabilities move: the box alone gives a logit of a few.
        calibration=Calibration(
            slope=1.0, intercept=-2.0 if outputs == 1 else (0.0,) * outputs, prevalence=0.5
        ),
        thresholds=(Threshold(0.5, "sensitivity 0.95"),),
        # Of a report it is only asked whether its calibration was seen to help.
        report=SimpleNamespace(
            recalibrated=None, calibration=SimpleNamespace(helps=True), external_results=()
        ),
    )
    return ToyScorer(bundle, networks)


def draw_marked_photograph(box: Box, *, height: int = 240, width: int = 320) -> np.ndarray:
    """Skin with a little noise, and one even patch of another color that fills the box."""
    noise = np.random.default_rng(0).normal(0, 4, (height, width, 3))
    pixels = np.array([205, 165, 140]) + noise
    pixels[box.mask(height, width)] = (70, 110, 215)
    return pixels.clip(0, 255).astype(np.uint8)
