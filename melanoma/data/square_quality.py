"""How good a photograph is to score, measured on the square that the model sees.

Seven plain numbers and no network: focus, light (two), how large and where the lesion is (three),
and color. Outside the circle that touches the square's sides nothing counts but for focus, so that
dark corners say nothing. What is too little or too much is learned from training images, by
melanoma.evaluation.measure.picture_quality.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import astuple, dataclass, fields
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from melanoma.data.images import Pixels
from melanoma.data.quantiles import quantiles

Plane = npt.NDArray[np.float32]

_SECTORS = 6
_FINE = (0.2, 0.5)  # cycles a pixel: details of 2 to 5 pixels
_WHITE = 250
_GRID = 64  # place and size need no more
_SCALES = (1.0, 2.0, 4.0, 8.0, 16.0)  # of the grid's pixels, a standard deviation each
_ROUNDS = 3  # of fitting the skin, each without the darkest of the last
_DARKEST = 0.3
_PEAK = 0.998
_PART_OF_PEAK = 0.25


@dataclass(frozen=True)
class SquareMeasures:
    """Of one square.

    `sharpness`: power of details of 2 to 5 pixels in the direction that has least of them (so that
    a movement counts), relative to the square's own contrast; in decibels.
    `brightness`: luminance that a fifth of the pixels exceed, 0 to 255.
    `white_share`: share of pixels that are burnt out, 0 to 1.
    `lesion_share`: share that is darker than the skin by a quarter of the darkest spot's
    difference or more; the skin is a plane, lit from any side.
    `lesion_offset`: distance of what differs from the common color from the middle, in sides.
    `coarse_contrast`: contrast of spots wider than a tenth of the side beside that of smaller
    ones, in decibels; a lesion far away, or many of them, has little.
    `chroma`: distance from gray that half of the pixels exceed, in units of CIELAB; a picture
    without color, or behind fog, has little.
    """

    sharpness: float
    brightness: float
    white_share: float
    lesion_share: float
    lesion_offset: float
    coarse_contrast: float
    chroma: float

    def as_row(self) -> tuple[float, ...]:
        """The values in the order of MEASURES."""
        return astuple(self)


MEASURES = tuple(field.name for field in fields(SquareMeasures))


def measure_square(square: Pixels) -> SquareMeasures:
    """The measures of (S, S, 3) uint8 RGB; a few milliseconds."""
    luminance = cv2.cvtColor(square, cv2.COLOR_RGB2GRAY).astype(np.uint8)
    inside = _circle(len(square)).inside
    counts = np.bincount(luminance[inside], minlength=256).cumsum() / inside.sum()
    darkest, bright, brightest = np.searchsorted(counts, (0.02, 0.8, 0.98)).tolist()
    small = cv2.resize(square, (_GRID, _GRID), interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2LAB).astype(np.float32)
    return SquareMeasures(
        sharpness=_sharpness(luminance, contrast=1.0 + brightest - darkest),
        brightness=float(bright),
        white_share=float((_least_of_colors(square)[inside] >= _WHITE).mean()),
        lesion_share=_lesion_share(lab[..., 0]),
        lesion_offset=_lesion_offset(lab),
        coarse_contrast=_coarse_contrast(lab),
        chroma=float(np.median(np.hypot(lab[..., 1], lab[..., 2])[_circle(_GRID).inside])),
    )


def _least_of_colors(square: Pixels) -> Pixels:
    red, green, blue = cv2.split(square)
    return cv2.min(cv2.min(red, green), blue).astype(np.uint8, copy=False)


class _Circle(NamedTuple):
    """Positions in sides from the middle, and what lies in the circle that touches the sides."""

    right: Plane
    down: Plane
    inside: npt.NDArray[np.bool_]


@functools.lru_cache(maxsize=8)
def _circle(side: int) -> _Circle:
    axis = (np.arange(side, dtype=np.float32) + 0.5) / side - 0.5
    right, down = (each.astype(np.float32, copy=False) for each in np.meshgrid(axis, axis))
    return _Circle(right, down, np.hypot(right, down) < 0.5)


@functools.lru_cache(maxsize=8)
def _directions(side: int) -> tuple[Plane, float, tuple[npt.NDArray[np.intp], ...]]:
    """The window, its power, and of each direction the places of its fine details in the flat
    spectrum."""
    down, right = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None, :]
    radius, width = np.hypot(down, right), np.pi / _SECTORS
    angle = (np.arctan2(down, right) + width / 2) % np.pi
    fine = (radius >= _FINE[0]) & (radius < _FINE[1])
    sectors = (np.flatnonzero(fine & (angle // width == n)) for n in range(_SECTORS))
    window = np.outer(np.hanning(side), np.hanning(side)).astype(np.float32)
    return window, float((window**2).sum()), tuple(sectors)


def _sharpness(luminance: Pixels, *, contrast: float) -> float:
    window, window_power, sectors = _directions(len(luminance))
    spectrum = np.fft.rfft2((luminance - luminance.mean()) * window)
    power = (spectrum.real**2 + spectrum.imag**2).ravel()
    weakest = min(float(power[places].mean()) for places in sectors)
    # By the window's own power white noise comes to its variance, whatever the size.
    relative = weakest / window_power / contrast**2
    return float(10 * np.log10(relative + 1e-12))


def _lesion_share(lightness: Plane) -> float:
    right, down, inside = _circle(_GRID)
    values = lightness[inside].astype(np.float64)
    terms = np.stack([np.ones(len(values)), right[inside], down[inside]], axis=1)
    skin = np.ones(len(values), bool)
    for _ in range(_ROUNDS):
        part = terms[skin]
        plane = np.linalg.solve(part.T @ part, part.T @ values[skin])
        difference = terms @ plane - values
        skin = difference <= quantiles(difference, (1 - _DARKEST,))[0]
    (peak,) = quantiles(difference, (_PEAK,))
    return float((difference > max(_PART_OF_PEAK * peak, 0.0)).mean())


def _lesion_offset(lab: Plane) -> float:
    right, down, inside = _circle(_GRID)
    colors = lab[inside]
    # A plane's colors side by side: the median of strided ones takes far longer.
    common = np.median(np.ascontiguousarray(colors.T), axis=1)
    weights = np.linalg.norm(colors - common, axis=1)
    total = float(weights.sum()) + 1e-6  # a square of one color has no place
    return float(np.hypot(weights @ right[inside], weights @ down[inside]) / total)


@functools.lru_cache(maxsize=1)
def _blurs() -> tuple[Plane, ...]:
    """(64, 64) a scale: a Gaussian's weights, a row a pixel; nothing lies beyond the sides."""
    away = np.subtract.outer(np.arange(_GRID), np.arange(_GRID))
    kernels = []
    for scale in _SCALES:
        reach = round(4 * scale)
        kernel = cv2.getGaussianKernel(2 * reach + 1, scale, cv2.CV_32F).ravel()
        near = np.abs(away) <= reach
        kernels.append(np.where(near, kernel[np.clip(away, -reach, reach) + reach], 0))
    return tuple(kernels)


@functools.lru_cache(maxsize=1)
def _shares_inside() -> tuple[Plane, ...]:
    """How much of each neighborhood lies in the circle, a scale each."""
    inside = _circle(_GRID).inside.astype(np.float32)
    return tuple(np.maximum(blur @ inside @ blur.T, 1e-3) for blur in _blurs())


def _coarse_contrast(lab: Plane) -> float:
    inside = _circle(_GRID).inside.astype(np.float32)
    planes = np.ascontiguousarray(np.moveaxis(lab, -1, 0)) * inside
    # Products with a matrix: a filter of 129 taps takes far longer.
    blurred = [
        blur @ planes @ blur.T / part for blur, part in zip(_blurs(), _shares_inside(), strict=True)
    ]
    spots = [
        float(np.sqrt(np.vdot(step, step) / inside.sum()))
        for step in ((wide - narrow) * inside for narrow, wide in itertools.pairwise(blurred))
    ]
    half = len(spots) // 2
    return float(20 * np.log10((max(spots[half:]) + 0.1) / (max(spots[:half]) + 0.1)))
