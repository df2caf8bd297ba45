"""Contrast-limited adaptive histogram equalization of a batch, as OpenCV computes it.

Zuiderveld, Graphics Gems IV (1994): the lightness of each tile is equalized by a histogram that is
cut off, and between the middles of tiles the four nearest tables are interpolated.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from melanoma.data.device_augmentation.color_spaces import lab_to_rgb, rgb_to_lab
from melanoma.data.device_augmentation.step_values import Values

_TILES = 8  # a side, albumentations' default
_BINS = 256


def draw_clahe(step: Any, size: int) -> Values:
    """The most that a bin may hold, in images' counts."""
    side = math.ceil(size / _TILES)
    limit = step.get_params()["clip_limit"] * side * side / _BINS
    return {"most": np.int32(max(int(limit), 1))}


def apply_clahe(images: Tensor, most: Tensor) -> Tensor:
    """(N, 3, S, S) uint8 with the lightness of L*a*b* equalized; `most` is (N,)."""
    lightness, a, b = rgb_to_lab(images)
    equal = equalize(lightness, most)
    return lab_to_rgb(equal, a, b)


def equalize(values: Tensor, most: Tensor) -> Tensor:
    """(N, S, S) whole numbers from 0 to 255 equalized, float32 and rounded."""
    size = values.shape[-1]
    more = -size % _TILES
    wide = values
    if more:
        # OpenCV mirrors what is missing from the last tiles.
        wide = F.pad(values[:, None].float(), (0, more, 0, more), mode="reflect")[:, 0]
    tables = _tables(wide.to(torch.int64), most)
    return _interpolated(values.to(torch.int64), tables, (size + more) // _TILES)


def _tables(values: Tensor, most: Tensor) -> Tensor:
    """(N, tiles * tiles * 256) float32: what each tile makes of each value."""
    images, side = len(values), values.shape[-1] // _TILES
    tiles = values.view(images, _TILES, side, _TILES, side).transpose(2, 3)
    tiles = tiles.reshape(images, _TILES * _TILES, side * side)
    counts = torch.zeros(images, _TILES * _TILES, _BINS, dtype=torch.int64, device=values.device)
    counts.scatter_add_(2, tiles, torch.ones_like(tiles))
    most = most.to(torch.int64)[:, None, None]
    cut = torch.minimum(counts, most)
    over = (counts - cut).sum(dim=2, keepdim=True)
    share, rest = over // _BINS, over % _BINS
    # The rest goes to one bin in every so many, from the first one on.
    step = (_BINS // rest.clamp(min=1)).clamp(min=1)
    bins = torch.arange(_BINS, device=values.device)
    extra = (bins % step == 0) & (bins // step < rest)
    total = (cut + share + extra).cumsum(dim=2)
    return (total * (255 / (side * side))).float().round_().clamp_(0, 255).flatten(1)


def _interpolated(values: Tensor, tables: Tensor, side: int) -> Tensor:
    """Each value by the tables of the four tiles around it."""
    size = values.shape[-1]
    place = torch.arange(size, device=values.device, dtype=torch.float32) / side - 0.5
    before = place.floor()
    weight = place - before
    first = before.clamp(min=0).to(torch.int64)
    second = (before + 1).clamp(max=_TILES - 1).to(torch.int64)

    def read(down: Tensor, across: Tensor) -> Tensor:
        start = (down[:, None] * _TILES + across[None, :]) * _BINS
        return tables.gather(1, (start + values).flatten(1)).view(values.shape)

    top = read(first, first) * (1 - weight) + read(first, second) * weight
    bottom = read(second, first) * (1 - weight) + read(second, second) * weight
    down = weight[:, None]
    return (top * (1 - down) + bottom * down).round_()
