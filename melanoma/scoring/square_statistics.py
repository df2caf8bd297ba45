"""Plain statistics of a square: its colors, its contrasts, how fine its structures are and where.

What no network needs to tell a gray page, a noise, a scene or an even color from a photograph of
skin. Three groups, each to be described by itself.
"""

from __future__ import annotations

from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from melanoma.data.images import Pixels
from melanoma.data.quantiles import quantiles
from melanoma.types import Floats

Planes: TypeAlias = npt.NDArray[np.float32]

_SCALES = 4
_ENDS = (0.02, 0.25, 0.75, 0.98)
_GRID = 4
# Colors and contrasts, shapes of the structures, and what is where.
GROUPS = (33, 9 * _SCALES, 3 * _GRID**2)
COUNT = sum(GROUPS)
_PAIRS = ((0, 1), (0, 2), (1, 2))


def square_statistics(squares: Pixels) -> Floats:
    """(B, COUNT) of (B, S, S, 3) uint8 RGB, S of 64 or more; the columns of GROUPS in their order.

    Of lightness, red against green, and yellow against blue: the mean, the logarithms of the
    spread and of what each of four scales holds, four percentiles, and the middle against the rim.
    Then of each scale how much its edges run along the sides, in one direction, and in few places,
    how its details agree between the planes, and how rare they are. Then the mean of each of 4 x 4
    fields against the square's. The finest scale is left out: it tells how a file was resized and
    compressed.
    """
    return np.stack([_of_one(square) for square in squares])


def _of_one(square: Pixels) -> Floats:
    red, green, blue = np.moveaxis(square.astype(np.float32) / 255, -1, 0)
    planes = np.stack([(red + green + blue) / 3, red - green, (red + green) / 2 - blue])
    flat = planes.reshape(3, -1)
    level, inner = flat.mean(axis=1), _middle(planes)
    statistics = [level, np.log(flat.std(axis=1) + 0.01), inner - level]
    statistics += list(quantiles(flat, _ENDS).T - level)
    shapes: list[Floats] = []
    coarse = _halve(planes)
    for _ in range(_SCALES):
        halved = _halve(coarse)
        side = 2 * halved.shape[1]
        detail = coarse[:, :side, :side] - _double(halved)
        flat_detail = detail.reshape(3, -1)
        statistics.append(np.log(np.sqrt((flat_detail**2).mean(axis=1)) + 0.003))
        shapes += [_edges(coarse[0]), _details(flat_detail)]
        coarse = halved
    return np.concatenate([*statistics, *shapes, _fields(planes, level)]).astype(np.float64)


def _edges(lightness: npt.NDArray[np.float32]) -> Floats:
    """(3,) of one scale: edges along the sides beside those across, the strongest direction beside
    the weakest, and how few places hold them; logarithms."""
    right = (lightness[:, 1:] - lightness[:, :-1])[:-1]
    down = (lightness[1:] - lightness[:-1])[:, :-1]
    across = (lightness[1:, 1:] - lightness[:-1, :-1], lightness[1:, :-1] - lightness[:-1, 1:])
    powers = np.array([(one**2).mean() for one in (right, down, *across)]) + 1e-6
    places = right**2 + down**2 + 1e-6
    shares = (powers[:2].sum() / powers[2:].sum(), powers.max() / powers.min())
    return np.asarray(np.log([*shares, (places**2).mean() / places.mean() ** 2]))


def _details(detail: Planes) -> Floats:
    """(6,) of one scale's (3, P): how the planes' details agree, and how rare they are in each."""
    power = detail * detail
    fourth, second = (power * power).mean(axis=1), power.mean(axis=1)
    # A block's details add up to nothing, so the mean square is their variance.
    spread = np.sqrt(second) + 0.003
    agree = [(detail[a] * detail[b]).mean() / (spread[a] * spread[b]) for a, b in _PAIRS]
    return np.array([*agree, *(np.log(fourth + 1e-9) - 2 * np.log(second + 3e-5))])


def _fields(planes: Planes, level: npt.NDArray[np.float32]) -> Floats:
    size = (_GRID, _GRID)
    small = np.stack([cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in planes])
    return np.asarray((small.reshape(3, -1) - level[:, None]).ravel())


def _middle(planes: Planes) -> Planes:
    quarter = planes.shape[1] // 4
    middle: Planes = planes[:, quarter:-quarter, quarter:-quarter].mean(axis=(1, 2))
    return middle


def _halve(planes: Planes) -> Planes:
    # Four corners of each block: a mean over axes of two takes far longer.
    side = planes.shape[1] // 2 * 2
    upper, lower = planes[:, 0:side:2], planes[:, 1:side:2]
    added = (
        upper[..., 0:side:2] + upper[..., 1:side:2] + lower[..., 0:side:2] + lower[..., 1:side:2]
    )
    halved: Planes = added * np.float32(0.25)
    return halved


def _double(planes: Planes) -> Planes:
    return planes.repeat(2, axis=1).repeat(2, axis=2)
