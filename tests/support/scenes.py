"""One scene in different color spaces."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

# Primaries in XYZ under D50, columns red, green, blue; as their specifications have them.
SRGB = ((0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7139))
ADOBE = ((0.6097, 0.3111, 0.0195), (0.2053, 0.6257, 0.0609), (0.1492, 0.0632, 0.7446))

Pixels = npt.NDArray[np.uint8]


def linear(pixels: Pixels) -> Any:
    """IEC 61966-2-1: from sRGB's levels to light."""
    share = pixels / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def written_in(scene: Pixels, primaries: Any, gamma: float) -> Pixels:
    """The scene's colors as a camera of those primaries would store them."""
    light = linear(scene) @ np.array(SRGB) @ np.linalg.inv(np.array(primaries))
    return (light.clip(0, 1) ** (1 / gamma) * 255).round().astype(np.uint8)
