"""Flips, affine maps and distortions of a batch: (N, 3, S, S) uint8 in, the same out.

Every map goes through torch's grid_sample, whose bilinear values are OpenCV's, rounded alike; its
paddings reflection, zeros and border are BORDER_REFLECT_101, _CONSTANT and _REPLICATE.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from melanoma.data.device_augmentation.step_values import Values
from melanoma.data.elastic import SIGMA, shapes


def remap(images: Tensor, x: Tensor, y: Tensor, padding: str) -> Tensor:
    """The images read at (N, S, S) places in pixels, as cv2.remap does it bilinearly."""
    height, width = images.shape[2:]
    grid = torch.stack([x * (2 / (width - 1)) - 1, y * (2 / (height - 1)) - 1], dim=-1)
    sampled = F.grid_sample(
        images.float(), grid, mode="bilinear", padding_mode=padding, align_corners=True
    )
    return sampled.round_().clamp_(0, 255).to(torch.uint8)


def draw_matrix(step: Any, size: int) -> Values:
    """The inverse of the step's own matrix: where each pixel comes from."""
    matrix = step.get_params_dependent_on_data({"shape": (size, size, 3)}, {})["matrix"]
    if matrix.shape == (2, 3):
        matrix = np.vstack([matrix, [0.0, 0.0, 1.0]])
    return {"matrix": np.linalg.inv(matrix).astype(np.float32)}


def apply_affine(images: Tensor, matrix: Tensor) -> Tensor:
    """Through (N, 3, 3) matrices, the borders mirrored."""
    x, y, _ = _sources(images, matrix)
    return remap(images, x, y, "reflection")


def apply_perspective(images: Tensor, matrix: Tensor) -> Tensor:
    """Through (N, 3, 3) matrices, the borders replicated."""
    x, y, depth = _sources(images, matrix)
    return remap(images, x / depth, y / depth, "border")


def _sources(images: Tensor, matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Each matrix times (x, y, 1), of every pixel: three of (N, S, S)."""
    x, y = _places(images.shape[-1], images.device)
    rows = matrix[..., None, None].unbind(1)  # three of (N, 3, 1, 1)
    first, second, third = (row[:, 0] * x + row[:, 1] * y + row[:, 2] for row in rows)
    return first, second, third


def draw_optical(step: Any, size: int) -> Values:
    """How strong a lens bends."""
    return {"bend": np.float32(step.py_random.uniform(*step.distort_limit))}


def apply_optical(images: Tensor, bend: Tensor) -> Tensor:
    """cv2.initUndistortRectifyMap of a camera as wide as the square, and remap; black beside it.

    albumentations gives the camera a middle of size / 2, OpenCV the new one (size - 1) / 2.
    """
    size = images.shape[-1]
    x, y = ((place - (size - 1) / 2) / size for place in _places(size, images.device))
    away = x * x + y * y
    factor = 1 + bend[:, None, None] * (away + away * away)
    return remap(images, (x * factor + 0.5) * size, (y * factor + 0.5) * size, "zeros")


def draw_grid(step: Any, size: int) -> Values:
    """Where each column and each row comes from."""
    maps = step.get_params_dependent_on_data({"shape": (size, size, 3)}, {})
    return {
        "columns": maps["map_x"][0].astype(np.float32),
        "rows": maps["map_y"][:, 0].astype(np.float32),
    }


def apply_grid(images: Tensor, columns: Tensor, rows: Tensor) -> Tensor:
    """Columns and rows of (N, S) each read elsewhere; black beside the picture."""
    size = images.shape[-1]
    x, y = columns[:, None].expand(-1, size, -1), rows[:, :, None].expand(-1, -1, size)
    return remap(images, x, y, "zeros")


def draw_elastic(step: Any, size: int) -> Values:
    """The field as the left one of its two factors."""
    return {"left": step.draw_left(size, size)}


def apply_elastic(images: Tensor, left: Tensor) -> Tensor:
    """Displaced by left @ across.T, (N, 2 S, r) and (S, r); black beside the picture."""
    size = images.shape[-1]
    across = _across(size, images.device)
    fields = left[:, :, :1] * across[:, 0]
    for number in range(1, across.shape[1]):  # in one order, whatever the batch
        fields = fields + left[:, :, number : number + 1] * across[:, number]
    x, y = _places(size, images.device)
    return remap(images, fields[:, :size] + x, fields[:, size:] + y, "zeros")


@functools.cache
def _across(size: int, device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        return torch.from_numpy(shapes(size, SIGMA)).to(device)


@functools.cache
def _places(size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """x as (1, S) and y as (S, 1), in pixels."""
    with torch.inference_mode(False):
        line = torch.arange(size, device=device, dtype=torch.float32)
        return line[None, :], line[:, None]
