"""Blurs and noise of a batch: (N, 3, S, S) uint8 in, the same out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from melanoma.data.device_augmentation.step_values import Values

_MOST_EXCHANGES = 3  # side of the window whose median is found by exchanges


def draw_motion(step: Any, size: int) -> Values:
    """The kernel, (k, k)."""
    return {"kernel": step.get_params()["kernel"].astype(np.float32)}


def apply_motion(images: Tensor, kernel: Tensor) -> Tensor:
    """cv2.filter2D with a kernel an image, (N, k, k)."""
    side = kernel.shape[-1]
    wide = F.pad(images.float(), [side // 2] * 4, mode="reflect")
    size = images.shape[-1]
    parts = (
        kernel[:, down, across, None, None, None]
        * wide[..., down : down + size, across : across + size]
        for down in range(side)
        for across in range(side)
    )
    return _total(parts).round_().clamp_(0, 255).to(torch.uint8)


def draw_gaussian(step: Any, size: int) -> Values:
    """The kernel of one axis, (k,)."""
    kernel = step.get_params_dependent_on_data({"shape": (size, size, 3)}, {})["kernel"]
    return {"kernel": kernel.astype(np.float32)}


def apply_gaussian(images: Tensor, kernel: Tensor) -> Tensor:
    """cv2.sepFilter2D with a kernel an image, (N, k), for both axes."""
    side, size = kernel.shape[-1], images.shape[-1]
    wide = F.pad(images.float(), [side // 2] * 4, mode="reflect")
    weights = kernel[:, :, None, None, None].unbind(1)
    across = _total(w * wide[..., n : n + size] for n, w in enumerate(weights))
    down = _total(w * across[..., n : n + size, :] for n, w in enumerate(weights))
    return down.round_().clamp_(0, 255).to(torch.uint8)


def _total(parts: Iterator[Tensor]) -> Tensor:
    """Their sum in their order; a convolution may take another for another number of images."""
    total = next(parts)
    for part in parts:
        total = total + part
    return total


def draw_median(step: Any, size: int) -> Values:
    """The side of the window."""
    return {"side": int(step.get_params()["kernel"])}


def apply_median(images: Tensor, side: int) -> Tensor:
    """cv2.medianBlur: the borders replicated."""
    size, reach = images.shape[-1], side // 2
    wide = F.pad(images.float(), [reach] * 4, mode="replicate").to(torch.uint8)
    windows = [
        wide[..., down : down + size, across : across + size]
        for down in range(side)
        for across in range(side)
    ]
    if side > _MOST_EXCHANGES:
        return torch.stack(windows).median(dim=0).values
    return _median_of_nine(windows)


# Paeth's network, Graphics Gems (1990): the middle of nine lies at place 4 after these exchanges.
_EXCHANGES = (
    *((1, 2), (4, 5), (7, 8), (0, 1), (3, 4), (6, 7), (1, 2), (4, 5), (7, 8), (0, 3)),
    *((5, 8), (4, 7), (3, 6), (1, 4), (2, 5), (4, 7), (4, 2), (6, 4), (4, 2)),
)


def _median_of_nine(windows: list[Tensor]) -> Tensor:
    for low, high in _EXCHANGES:
        first, second = windows[low], windows[high]
        windows[low], windows[high] = torch.minimum(first, second), torch.maximum(first, second)
    return windows[4]


def draw_noise(step: Any, size: int) -> Values:
    """The deviation in gray values, and the seed of the noise.

    As albumentations draws: its third draw is the seed of OpenCV's generator.
    """
    deviation = step.py_random.uniform(*step.std_range) * 255
    step.py_random.uniform(*step.mean_range)
    seed = int(step.random_generator.integers(0, 2**16))
    return {"deviation": np.float32(deviation), "seeds": np.int64(seed)}


def apply_noise(images: Tensor, deviation: Tensor, seeds: Tensor) -> Tensor:
    """Normal noise, its fractions cut off as albumentations cuts them, added to each value.

    The numbers are the device's own: a GPU and a CPU draw others by the same seed. `seeds` stay on
    the CPU.
    """
    noise = torch.empty(images.shape, device=images.device)
    generator = torch.Generator(images.device)
    for one, seed in zip(noise, seeds.tolist(), strict=True):
        one.normal_(generator=generator.manual_seed(seed))
    noisy = images + (noise * deviation[:, None, None, None]).trunc_()
    return noisy.clamp_(0, 255).to(torch.uint8)
