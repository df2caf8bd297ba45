"""Squares that look like a lesion on skin, made in no time."""

from __future__ import annotations

import cv2
import numpy as np

from melanoma.data.images import Pixels


def make_squares(count: int, size: int) -> Pixels:
    """(count, size, size, 3) uint8: mottled skin, a dark spot off the middle, a little noise."""
    rng = np.random.default_rng(size)
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    squares = []
    for _ in range(count):
        coarse = rng.normal([190, 150, 130], 14, (5, 5, 3)).astype(np.float32)
        skin = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
        left, top = rng.uniform(-0.4, 0.4, 2)
        spot = np.exp(-(((x - left) / 0.3) ** 2) - ((y - top) / 0.45) ** 2)
        skin -= spot[..., None] * [90, 85, 70] - rng.normal(0, 3, (size, size, 3))
        squares.append(skin.clip(0, 255).astype(np.uint8))
    return np.stack(squares)
