"""A backbone of a thousand weights, for what no backbone decides."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial

from torch import nn

from melanoma.models.backbones import BACKBONES, Backbone


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
