"""Backbones of a few thousand weights, for what no backbone decides.

A process that reads a recipe or bundle of one must know it: this one does by conftest.py, and its
forks by forked.py; another calls `know_tiny_backbones` first.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from functools import partial
from itertools import pairwise

from torch import nn

from melanoma.models.backbones import BACKBONES, Backbone

WIDTHS = (16, 16, 32, 64)


def know_tiny_backbones() -> None:
    """Put `tiny_norm` and `tiny_resnet` among those that a recipe may name."""
    BACKBONES["tiny_norm"] = make_tiny_backbone(norm=True)
    BACKBONES["tiny_resnet"] = make_tiny_resnet()


def make_tiny_backbone(*, norm: bool) -> Backbone:
    """Two convolutions, 16 features, two stages; with `norm` a BatchNorm between them."""
    return Backbone(
        name="tiny",
        features=16,
        build=partial(_build, norm),
        stage=lambda name: int(name.startswith("conv2.")),
        stages=2,
        normalization="imagenet",
        pretrained=BACKBONES["resnet18"].pretrained,
        ignored=(),
    )


def _build(norm: bool) -> nn.Module:
    layers: OrderedDict[str, nn.Module] = OrderedDict(conv1=nn.Conv2d(3, 8, 5, stride=4))
    if norm:
        layers["norm"] = nn.BatchNorm2d(8)
    layers.update(relu=nn.ReLU(), conv2=nn.Conv2d(8, 16, 3, stride=2), act=nn.ReLU())
    return nn.Sequential(layers)


def make_tiny_resnet() -> Backbone:
    """A ResNet-18 of half as many blocks and few channels: 45 MB of weights are half a megabyte."""
    return replace(
        BACKBONES["resnet18"], name="tiny_resnet", features=WIDTHS[-1], build=_build_resnet
    )


def _build_resnet() -> nn.Module:
    from torchvision.models.resnet import BasicBlock  # two seconds that few processes need

    first = WIDTHS[0]
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(3, first, 7, stride=2, padding=3, bias=False),
        bn1=nn.BatchNorm2d(first),
        relu=nn.ReLU(inplace=True),
        maxpool=nn.MaxPool2d(3, stride=2, padding=1),
        layer1=nn.Sequential(BasicBlock(first, first)),
    )
    for number, (before, after) in enumerate(pairwise(WIDTHS), start=2):
        halved = nn.Sequential(
            nn.Conv2d(before, after, 1, stride=2, bias=False), nn.BatchNorm2d(after)
        )
        layers[f"layer{number}"] = nn.Sequential(BasicBlock(before, after, 2, halved))
    for layer in nn.Sequential(layers).modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(layers)
