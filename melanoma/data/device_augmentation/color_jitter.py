"""Brightness, contrast, saturation and hue of a batch, in an order that each image draws."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from melanoma.data.device_augmentation.color_spaces import hsv_to_rgb, rgb_to_hsv
from melanoma.data.device_augmentation.step_values import Values

_GRAY = (4899, 9617, 1868)  # OpenCV's weights of red, green and blue, times 2 ** 14


def draw_jitter(step: Any, size: int) -> Values:
    """(4,) factors, and the order in which they come."""
    parameters = step.get_params()
    factors = [parameters[name] for name in ("brightness", "contrast", "saturation", "hue")]
    return {
        "factors": np.array(factors, np.float32),
        "order": np.array(parameters["order"], np.int64),
    }


def apply_jitter(images: Tensor, factors: Tensor, order: Tensor) -> Tensor:
    """By (N, 4) factors in (N, 4) orders, which stay on the CPU."""
    images = images.clone()
    for turn in order.unbind(1):
        for number, change in enumerate((_brightness, _contrast, _saturation, _hue)):
            places = (turn == number).nonzero()[:, 0].to(images.device)
            if len(places):
                images[places] = change(images[places], factors[places, number, None, None, None])
    return images


def _brightness(images: Tensor, factor: Tensor) -> Tensor:
    return (images * factor).clamp_(0, 255).to(torch.uint8)


def _contrast(images: Tensor, factor: Tensor) -> Tensor:
    # Added as whole numbers: exact, so that a batch of any size has the same mean.
    total = _gray(images).flatten(1).sum(dim=1, dtype=torch.int64)
    mean = (total.double() / images[0, 0].numel()).float()[:, None, None, None]
    return (images * factor + mean * (1 - factor)).clamp_(0, 255).to(torch.uint8)


def _saturation(images: Tensor, factor: Tensor) -> Tensor:
    gray = _gray(images)[:, None]
    return (images * factor + gray * (1 - factor)).round_().clamp_(0, 255).to(torch.uint8)


def _hue(images: Tensor, factor: Tensor) -> Tensor:
    hue, saturation, value = rgb_to_hsv(images)
    turned = ((hue + 180 * factor[:, 0]) % 180).floor()
    return torch.where(factor == 0, images, hsv_to_rgb(turned, saturation, value))


def _gray(images: Tensor) -> Tensor:
    """(N, S, S) int32, cv2.cvtColor's."""
    red, green, blue = images.to(torch.int32).unbind(1)
    return (red * _GRAY[0] + green * _GRAY[1] + blue * _GRAY[2] + (1 << 13)) >> 14
