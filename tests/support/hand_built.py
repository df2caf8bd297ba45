"""Folds whose networks are set by hand: what training would give, without training and exactly.

What a short training gives differs between processors, and whether two classes differ in it is
luck. These networks are the recipe's own (a ResNet of basic blocks), their kernels set to averages
and differences of colors, so that every score is a known function of the photograph: with
`tint_melanomas` the classes differ by construction, and not in every photograph.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

from melanoma.data.batches import Batch
from melanoma.models.classifier import Classifier
from melanoma.training.state import TrainingState

# Of red, green and blue: bright, red, green, and the opposite of each.
COLORS = ((1, 1, 1), (1, 0, -1), (-1, 2, -1), (-1, -1, -1), (-1, 0, 1), (1, -2, 1))
EDGES = 4  # brighter to the right, below, to the left, above
# A row a class, and again from the first. None is negative: each place of a photograph speaks for
# its class or is silent.
EVIDENCE = (
    (0, 0, 0, 0, 12, 0, 4, 3, 2, 1),  # blue and uneven: melanoma, where it is the only output
    (6, 0, 0, 0, 0, 0, 0, 0, 0, 0),
    (0, 0, 12, 0, 0, 0, 0, 0, 0, 0),
)
BIAS = -8.0
TINT = 15.0  # levels of blue, by which melanomas differ on average and other lesions by chance


@contextmanager
def hand_built() -> Iterator[None]:
    """Within, an epoch reads its batches and sets the network; all else happens as ever."""

    def set_instead(state: TrainingState, batches: Iterable[Batch], **_: Any) -> None:
        for _batch in batches:
            pass
        set_network(state.classifier)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("melanoma.training.loop.train_epoch", set_instead)
        yield


def tint_melanomas(folder: Path) -> None:
    """Make the melanomas of phantoms in `folder` bluer than the others, with an overlap."""
    table, rng = pd.read_csv(folder / "train.csv"), np.random.default_rng(0)
    for name, target in zip(table["image_name"], table["target"], strict=True):
        file = folder / f"jpeg/train/{name}.jpg"
        shift = TINT * (1.5 * target + rng.normal()) * np.array([-1, 0, 1])
        pixels = np.asarray(Image.open(file)) + shift
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, quality=92)


@torch.no_grad()
def set_network(network: Classifier) -> None:
    """Make a ResNet of basic blocks one whose features are colors and edges, averaged over space.

    How much edges count is drawn from torch's generator: by it the members of an ensemble differ.
    """
    for module in network.backbone.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.zero_()
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.reset_parameters()
    _set_stem(network.backbone)
    for name, layer in network.backbone.named_children():
        if name.startswith("layer"):
            for block in layer:
                _set_block(block)
    head = network.last_layer
    rows = [EVIDENCE[number % len(EVIDENCE)] for number in range(head.out_features)]
    evidence = torch.tensor(rows, dtype=torch.float32)
    evidence[:, -EDGES:] *= 1 + torch.rand(())
    head.weight.zero_()
    head.weight[:, : evidence.shape[1]] = evidence
    head.bias.fill_(BIAS)


def _set_stem(backbone: Any) -> None:
    """Every kernel a mean over 7 x 7 pixels. A color is counted from 1, for a rectifier follows."""
    colors = torch.tensor(COLORS, dtype=torch.float32)[:, :, None, None].expand(-1, -1, 7, 7)
    slope = (torch.arange(7.0) - 3).expand(3, 7, 7)
    edges = torch.stack([slope, slope.transpose(1, 2), -slope, -slope.transpose(1, 2)])
    backbone.conv1.weight[: len(colors) + EDGES] = torch.cat([colors, edges]) / 49
    backbone.bn1.bias[: len(colors)] = 1


def _set_block(block: Any) -> None:
    """The block passes its input on; where it halves the size, as means of 3 x 3."""
    if block.downsample is None:
        nn.init.zeros_(block.bn2.weight)
        return
    nn.init.zeros_(block.downsample[1].weight)
    for number in range(block.conv1.in_channels):
        block.conv1.weight[number, number] = 1 / 9
        block.conv2.weight[number, number, 1, 1] = 1
