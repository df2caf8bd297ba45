"""Vignettes, hairs and holes of a batch: (N, 3, S, S) uint8 in, the same out."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from melanoma.data.device_augmentation.step_values import Values
from melanoma.data.scene_augmentation import HAIR_TINT


def draw_vignette(step: Any, size: int) -> Values:
    """Middle, start, width and depth of the shade."""
    return {"ring": np.array(step.draw_ring(), np.float32)}


def apply_vignette(images: Tensor, ring: Tensor) -> Tensor:
    """Under the shade of (N, 5) rings."""
    line = torch.linspace(-1, 1, images.shape[-1], device=images.device)
    x0, y0, start, width, depth = ring[:, :, None, None].unbind(1)
    away = torch.hypot(line[None, None, :] - x0, line[None, :, None] - y0)
    shade = 1 - depth * ((away - start) / width).clamp(0, 1)
    return (images * shade[:, None]).round_().to(torch.uint8)


def draw_hair(step: Any, size: int) -> Values:
    """What the hairs leave of the picture and what they add, (S, S) each.

    They are drawn here, once a gray picture: OpenCV's smooth lines have no batched form.
    """
    hairs = step.get_params_dependent_on_data({"shape": (size, size, 3)}, {})["hairs"]
    left, added = np.ones((size, size), np.float32), np.zeros((size, size), np.float32)
    for points, shade, width in hairs:
        line = np.zeros((size, size), np.uint8)
        cv2.polylines(line, [points], False, 255, width, lineType=cv2.LINE_AA)
        cover = line.astype(np.float32) / 255
        left *= 1 - cover
        added += (shade - added) * cover
    return {"left": left, "added": added}


def apply_hair(images: Tensor, left: Tensor, added: Tensor) -> Tensor:
    """With (N, S, S) of it taken and added."""
    channels = [images[:, number] * left + added * share for number, share in enumerate(HAIR_TINT)]
    return torch.stack(channels, dim=1).round_().clamp_(0, 255).to(torch.uint8)


def draw_hole(step: Any, size: int) -> Values:
    """Left, top, right and bottom."""
    (hole,) = step.get_params_dependent_on_data({"shape": (size, size, 3)}, {})["holes"]
    return {"hole": hole.astype(np.int32)}


def apply_hole(images: Tensor, hole: Tensor) -> Tensor:
    """Black in (N, 4) boxes."""
    line = torch.arange(images.shape[-1], device=images.device)
    left, top, right, bottom = hole[:, :, None].unbind(1)
    across, down = (line >= left) & (line < right), (line >= top) & (line < bottom)
    inside = across[:, None, None, :] & down[:, None, :, None]
    return images.masked_fill(inside, 0)
