"""Brightness, color and contrast of a batch: (N, 3, S, S) uint8 in, the same out."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from melanoma.data.device_augmentation.color_spaces import hsv_to_rgb, rgb_to_hsv
from melanoma.data.device_augmentation.step_values import Values

# What becomes of it tells what becomes of every value.
_RAMP = np.repeat(np.arange(256, dtype=np.uint8)[:, None, None], 3, axis=2)


def draw_brightness(step: Any, size: int) -> Values:
    """(1, 256) what becomes of each value, by the step itself."""
    params = step.get_params_dependent_on_data({"shape": _RAMP.shape}, {"image": _RAMP})
    return {"table": step.apply(_RAMP, **params)[:, 0, 0][None]}


def draw_camera(step: Any, size: int) -> Values:
    """(3, 256) what becomes of each value of each channel."""
    table = step.get_params_dependent_on_data({"shape": (size, size, 3)}, {})["table"]
    return {"table": np.ascontiguousarray(table.T)}


def apply_table(images: Tensor, table: Tensor) -> Tensor:
    """By (N, 3 or 1, 256) tables."""
    values = images.flatten(2).to(torch.int64)
    return table.expand(-1, 3, -1).gather(2, values).view(images.shape)


def draw_hsv(step: Any, size: int) -> Values:
    """By how much hue, saturation and value move, of OpenCV's 180, 255 and 255; the last two by
    whole numbers, as albumentations adds them."""
    parameters = step.get_params()
    sat, val = (np.float32(int(parameters[f"{name}_shift"])) for name in ("sat", "val"))
    return {"hue": np.float32(parameters["hue_shift"]), "sat": sat, "val": val}


def apply_hsv(images: Tensor, hue: Tensor, sat: Tensor, val: Tensor) -> Tensor:
    """Moved by (N,) each; what has no saturation stays gray."""
    by_hue, by_sat, by_val = (by[:, None, None] for by in (hue, sat, val))
    turn, saturation, value = rgb_to_hsv(images)
    turned = ((turn + by_hue) % 180).floor()
    moved = torch.where(saturation == 0, 0, (saturation + by_sat).clamp(0, 255))
    return hsv_to_rgb(turned, moved, (value + by_val).clamp(0, 255))
