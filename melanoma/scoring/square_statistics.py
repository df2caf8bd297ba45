"""Plain statistics of a square: its colors, its contrasts, and how fine its structures are.

What no network needs to tell a gray page, a noise or an even color from a photograph of skin.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from melanoma.data.images import Pixels
from melanoma.types import Floats

Planes: TypeAlias = npt.NDArray[np.float32]

COUNT = 33
_SCALES = 4
_ENDS = (2, 25, 75, 98)


def square_statistics(squares: Pixels) -> Floats:
    """(B, COUNT) of (B, S, S, 3) uint8 RGB, S of 32 or more.

    Of lightness, red against green, and yellow against blue: the mean, the logarithms of the
    spread and of what each of four scales holds, four percentiles, and the middle against the rim.
    The finest scale is left out: it tells how a file was resized and compressed.
    """
    return np.stack([_of_one(square) for square in squares])


def _of_one(square: Pixels) -> Floats:
    red, green, blue = np.moveaxis(square.astype(np.float32) / 255, -1, 0)
    planes = np.stack([(red + green + blue) / 3, red - green, (red + green) / 2 - blue])
    flat = planes.reshape(3, -1)
    level, inner = flat.mean(axis=1), _middle(planes)
    found = [level, np.log(flat.std(axis=1) + 0.01), inner - level]
    found += list(np.percentile(flat, _ENDS, axis=1) - level)
    coarse = _halve(planes)
    for _ in range(_SCALES):
        halved = _halve(coarse)
        detail = coarse[:, : 2 * halved.shape[1], : 2 * halved.shape[2]] - _double(halved)
        found.append(np.log(np.sqrt((detail**2).mean(axis=(1, 2))) + 0.003))
        coarse = halved
    return np.concatenate(found).astype(np.float64)


def _middle(planes: Planes) -> Planes:
    quarter = planes.shape[1] // 4
    middle: Planes = planes[:, quarter:-quarter, quarter:-quarter].mean(axis=(1, 2))
    return middle


def _halve(planes: Planes) -> Planes:
    side = planes.shape[1] // 2
    blocks = planes[:, : 2 * side, : 2 * side].reshape(3, side, 2, side, 2)
    halved: Planes = blocks.mean(axis=(2, 4))
    return halved


def _double(planes: Planes) -> Planes:
    return planes.repeat(2, axis=1).repeat(2, axis=2)
