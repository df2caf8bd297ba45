"""Procedural drawings in the manner of dermoscopy: a lesion on skin under a lens.

Class shows only through five traits (asymmetry, border, colors, structure, diameter), each drawn
from one latent severity plus its own chance; severities of the two classes overlap on purpose, so
that no classifier can be right about every phantom. Skin and artefacts never see the class.
Lengths are in half image sides unless a name ends in _px, so that a drawing scales with its size.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.floating[Any]]

# How far melanomas lie above nevi in severity, in standard deviations: tuned so that
# SE-ResNeXt50 from scratch neither fails nor saturates on 440 phantoms.
SEVERITY_SHIFT = 3.4
_SKIN_TONES = (
    (0.94, 0.76, 0.74),
    (0.95, 0.86, 0.74),
    (0.84, 0.77, 0.79),
    (0.66, 0.49, 0.41),
    (0.87, 0.60, 0.57),
    (0.86, 0.80, 0.70),
)
# Pigment removes light (Beer-Lambert): optical density of melanin and of blood in R, G, B.
_MELANIN = np.array((0.37, 0.82, 1.40), np.float32)
_BLOOD = np.array((0.12, 0.75, 0.62), np.float32)
# What lies over or deep under the pigment scatters instead, and is laid over it.
_BLUE_GREY = np.array((0.28, 0.32, 0.41), np.float32)
_WHITE_VEIL = np.array((0.83, 0.79, 0.80), np.float32)
_BLOTCHES = ("brown", "black", "blue_grey", "red", "white")
_BLAND_ODDS = np.array((0.80, 0.02, 0.00, 0.16, 0.02))
_ATYPICAL_ODDS = np.array((0.06, 0.26, 0.42, 0.10, 0.16))
_HAIR_OVERSAMPLING = 4


class Look(NamedTuple):
    """What the photographs of one patient share: skin, pigment, hair, and the camera."""

    skin: tuple[float, ...]
    pigment: float
    hairs: float
    cast: tuple[float, ...]
    vignette: float
    ruler: bool


class Traits(NamedTuple):
    """The lesion: four levels from 0 (bland) to 1 (atypical), and the radius."""

    asymmetry: float
    border: float
    colors: float
    structure: float
    radius: float


class _Grid(NamedTuple):
    """Per pixel: offset from the image's center, and radius and angle about the lesion's."""

    x: Plane
    y: Plane
    rho: Plane
    theta: Plane


def draw_look(rng: np.random.Generator) -> Look:
    """A patient's skin and camera; no part of it depends on a diagnosis."""
    tone = np.array(_SKIN_TONES[rng.integers(len(_SKIN_TONES))])
    return Look(
        skin=tuple(np.clip(tone * rng.normal(1, 0.04) + rng.normal(0, 0.025, 3), 0.3, 0.97)),
        pigment=float(rng.normal(0.8, 0.16)),
        hairs=float(rng.choice((0.0, 1.5, 7.0), p=(0.5, 0.35, 0.15))),
        cast=tuple(rng.normal(1, 0.025, 3)),
        vignette=float(rng.choice((0.0, 0.35, 1.0), p=(0.5, 0.35, 0.15))),
        ruler=bool(rng.random() < 0.3),
    )


def draw_phantom(
    *, melanoma: bool, rng: np.random.Generator, size: int = 96, look: Look | None = None
) -> npt.NDArray[np.uint8]:
    """A phantom, (size, size, 3) uint8 RGB; without a look, that of a patient of its own."""
    look = draw_look(rng) if look is None else look
    traits = draw_traits(melanoma=melanoma, rng=rng)
    grid = _grid(size, rng)
    image = _skin(look, size, rng)
    image = _freckles(image, grid, rng)
    image = _lesion(image, grid, traits=traits, pigment=look.pigment, rng=rng)
    image = _bubbles(image, grid, rng)
    image = _hairs(image, look, rng)
    image = _ruler(image, look, rng)
    return _exposed(image, grid, look=look, rng=rng)


def draw_traits(*, melanoma: bool, rng: np.random.Generator) -> Traits:
    """A lesion's traits; melanomas are more atypical on average, not one by one."""
    severity = rng.normal(SEVERITY_SHIFT if melanoma else 0.0)
    levels = 0.85 * severity + rng.normal(0, 0.4, 4)
    asymmetry, border, colors, structure = (0.5 + 0.5 * np.tanh(1.0 * (levels - 1.35))).tolist()
    radius = float(np.clip(0.44 * np.exp(0.03 * severity + rng.normal(0, 0.24)), 0.22, 0.72))
    return Traits(asymmetry, border, colors, structure, radius)


def _grid(size: int, rng: np.random.Generator) -> _Grid:
    axis = (np.arange(size, dtype=np.float32) + 0.5) * (2 / size) - 1
    x, y = np.meshgrid(axis, axis)
    center, turn = rng.normal(0, 0.08, 2), rng.uniform(0, np.pi)
    stretch = 1 + abs(rng.normal(0, 0.18))
    along = ((x - center[0]) * np.cos(turn) + (y - center[1]) * np.sin(turn)) / stretch
    across = ((y - center[1]) * np.cos(turn) - (x - center[0]) * np.sin(turn)) * stretch
    return _Grid(x, y, np.hypot(along, across), np.arctan2(across, along))


def _noise(size: int, cells: int, rng: np.random.Generator) -> Plane:
    """Smooth noise of about unit variance with `cells` bumps to a side."""
    coarse = rng.normal(0, 1.3, (cells + 1, cells + 1)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC), np.float32)


def _sigmoid(values: Numbers) -> Plane:
    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * values), np.float32)


def _absorb(image: Numbers, density: Numbers, spectrum: Plane) -> Plane:
    transmitted = np.exp(-np.maximum(density, 0)[..., None] * spectrum)
    return np.asarray(image * transmitted, np.float32)


def _lay_over(image: Plane, color: Plane, opacity: Plane) -> Plane:
    return np.asarray(image + (color - image) * np.clip(opacity, 0, 1)[..., None], np.float32)


def _skin(look: Look, size: int, rng: np.random.Generator) -> Plane:
    shading = 1 + 0.045 * _noise(size, 2, rng) + 0.012 * _noise(size, 9, rng)
    flush = 0.04 + 0.03 * _noise(size, 5, rng) + 0.02 * _noise(size, 16, rng)
    return _absorb(shading[..., None] * np.array(look.skin, np.float32), flush, _BLOOD)


def _freckles(image: Plane, grid: _Grid, rng: np.random.Generator) -> Plane:
    density = np.zeros_like(grid.x)
    for _ in range(rng.poisson(1.2)):
        x, y = rng.uniform(-1, 1, 2)
        distance = np.hypot(grid.x - x, grid.y - y) / rng.uniform(0.03, 0.12)
        density += rng.uniform(0.1, 0.45) * np.exp(-(distance**2))
    return _absorb(image, density, _MELANIN)


def _outline(grid: _Grid, traits: Traits, rng: np.random.Generator) -> Plane:
    """How far inside the lesion each pixel lies, in lesion radii: 1 at its center, 0 on its rim."""
    rim = np.ones_like(grid.theta)
    for order in range(1, 11):
        lobes = 0.03 + 0.24 * traits.asymmetry if order <= 3 else 0.02 + 0.11 * traits.border
        amplitude = lobes * rng.normal() / order**0.5
        rim += amplitude * np.cos(order * grid.theta + rng.uniform(0, 2 * np.pi))
    size = len(rim)
    # Harmonics alone make daisies; noise in the plane notches the rim and leaves islands.
    fray = (0.05 + 0.20 * traits.border) * _noise(size, 8, rng)
    fray += (0.04 + 0.10 * traits.border) * _noise(size, 17, rng)
    return np.asarray(np.maximum(rim, 0.35) + fray - grid.rho / traits.radius, np.float32)


def _lesion(
    image: Plane, grid: _Grid, *, traits: Traits, pigment: float, rng: np.random.Generator
) -> Plane:
    size = len(image)
    inside = _outline(grid, traits, rng)
    mask = _sigmoid(inside / rng.uniform(0.04, 0.13))
    shade = 0.75 + rng.normal(0.3, 0.25) * np.clip(inside, 0, 1) + 0.12 * _noise(size, 10, rng)
    shade += (0.05 + 0.30 * traits.asymmetry) * _noise(size, 3, rng)
    shade += _structures(grid, traits, rng)
    # Lighter ground under more colors, so that mean darkness alone does not tell the class.
    ground = max(0.25, pigment * rng.lognormal(-0.05, 0.35) * (1 - 0.25 * traits.colors))
    redness = 0.5 * rng.random() ** 2
    image = _absorb(image, ground * mask * np.maximum(shade, 0.15), _MELANIN)
    image = _absorb(image, redness * _sigmoid((inside + 0.08) / 0.12), _BLOOD)
    odds = (1 - traits.colors) * _BLAND_ODDS + traits.colors * _ATYPICAL_ODDS
    for _ in range(1 + rng.binomial(5, 0.08 + 0.80 * traits.colors)):
        kind = str(rng.choice(_BLOTCHES, p=odds))
        # A bland lesion keeps its blotch in the middle, an atypical one puts it anywhere.
        reach = traits.radius * (0.12 + 0.5 * traits.asymmetry) * rng.uniform(0.5, 1.4)
        blotch = _blotch(grid, traits, reach=reach, rng=rng) * mask
        image = _colored(image, blotch, kind=kind, strength=rng.uniform(0.7, 1.0))
    return image


def _structures(grid: _Grid, traits: Traits, rng: np.random.Generator) -> Plane:
    """Network, globules and streaks as relative density; regular ones are even and everywhere."""
    size = len(grid.x)
    patchy = 2 * _sigmoid(4 * traits.structure * _noise(size, 3, rng))
    # The zero lines of smooth noise close into meshes, as the ridges of the skin do.
    meshes = 0.5 - np.minimum(abs(_noise(size, int(rng.integers(14, 20)), rng)), 1.2)
    network = rng.uniform(0.0, 0.5) * meshes * patchy
    dots = _noise(size, 22, rng) + 0.8 * traits.structure * _noise(size, 3, rng)
    globules = rng.uniform(0.1, 0.6) * _sigmoid((dots - 1.6) / 0.15)
    spokes = np.cos(rng.integers(14, 22) * grid.theta + 1.5 * _noise(size, 6, rng))
    sector = _sigmoid(3 * (np.cos(grid.theta - rng.uniform(0, 2 * np.pi)) - 0.4))
    near_rim = np.exp(-(((grid.rho / traits.radius - 0.9) / 0.25) ** 2))
    relative = network + globules + 0.6 * traits.structure * spokes * sector * near_rim
    return np.asarray(relative, np.float32)


def _blotch(grid: _Grid, traits: Traits, *, reach: float, rng: np.random.Generator) -> Plane:
    angle, extent = rng.uniform(-np.pi, np.pi), traits.radius * rng.uniform(0.4, 0.7)
    distance = np.sqrt(
        np.maximum(grid.rho**2 + reach**2 - 2 * reach * grid.rho * np.cos(grid.theta - angle), 0)
    )
    ragged = (0.8 + 1.4 * traits.structure) * _noise(len(grid.x), 9, rng)
    return _sigmoid(5 * (1 - distance / extent) + ragged)


def _colored(image: Plane, blotch: Plane, *, kind: str, strength: float) -> Plane:
    # A veil lets the pigment's pattern through; painted flat it would look like a sticker.
    pattern = np.minimum(image.mean(axis=2, keepdims=True) - 0.4, 0.1)
    if kind == "blue_grey":
        return _lay_over(image, _BLUE_GREY + 0.5 * pattern, 0.85 * strength * blotch)
    if kind == "white":
        return _lay_over(image, _WHITE_VEIL + 0.3 * pattern, 0.6 * strength * blotch)
    if kind == "red":
        return _absorb(image, 0.8 * strength * blotch, _BLOOD)
    return _absorb(image, strength * blotch * (1.9 if kind == "black" else 0.6), _MELANIN)


def _bubbles(image: Plane, grid: _Grid, rng: np.random.Generator) -> Plane:
    for _ in range(rng.poisson(0.35)):
        x, y = rng.uniform(-1, 1, 2)
        distance = np.hypot(grid.x - x, grid.y - y) / rng.uniform(0.04, 0.16)
        lit = 0.5 + 0.5 * np.cos(np.arctan2(grid.y - y, grid.x - x) - rng.uniform(0, 2 * np.pi))
        ring = np.exp(-(((distance - 1) / 0.22) ** 2))
        image = _lay_over(image, np.ones(3, np.float32), 0.55 * ring * lit**2)
        image = image * (1 - 0.12 * ring * (1 - lit))[..., None]
    return image


def _hairs(image: Plane, look: Look, rng: np.random.Generator) -> Plane:
    side = len(image) * _HAIR_OVERSAMPLING
    cover = np.zeros((side, side), np.uint8)
    steps = np.linspace(0, 1, 24)[:, None]
    for _ in range(rng.poisson(look.hairs)):
        start, bend, end = rng.uniform(-0.2, 1.2, (3, 2)) * side
        curve = (1 - steps) ** 2 * start + 2 * steps * (1 - steps) * bend + steps**2 * end
        width_px = max(1, round(side * rng.uniform(0.0015, 0.005)))
        cv2.polylines(cover, [curve.astype(np.int32)], False, 255, width_px, cv2.LINE_AA)
    color = np.array((0.20, 0.14, 0.12), np.float32) * np.float32(rng.uniform(0.5, 2.2))
    return _lay_over(image, color, _shrunk(cover, len(image)) * np.float32(rng.uniform(0.6, 0.95)))


def _ruler(image: Plane, look: Look, rng: np.random.Generator) -> Plane:
    if not look.ruler or rng.random() < 0.3:
        return image
    side = len(image) * _HAIR_OVERSAMPLING
    cover = np.zeros((side, side), np.uint8)
    turn, pitch = rng.normal(0, 0.12), rng.uniform(0.05, 0.09)
    along = np.array((np.sin(turn), np.cos(turn)))
    across = np.array((along[1], -along[0]))
    first = np.array((rng.uniform(0.04, 0.14), rng.uniform(-0.05, 0.2)))
    for tick in range(rng.integers(8, 18)):
        foot = first + tick * pitch * along
        tip = foot + across * (0.06 if tick % 5 == 0 else 0.035)
        ends = [np.rint(side * np.array((foot, tip))).astype(np.int32)]
        cv2.polylines(cover, ends, False, 255, max(1, side // 130), cv2.LINE_AA)
    # A ruler lies along any edge of the photograph.
    cover = np.ascontiguousarray(np.rot90(cover, int(rng.integers(4))))
    return _lay_over(image, np.full(3, 0.12, np.float32), 0.8 * _shrunk(cover, len(image)))


def _shrunk(cover: npt.NDArray[np.uint8], size: int) -> Plane:
    small = cv2.resize(cover, (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32) / np.float32(255)


def _exposed(
    image: Plane, grid: _Grid, *, look: Look, rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    size = len(image)
    distance = np.hypot(grid.x, grid.y)
    blur, gain = rng.uniform(0.25, 0.6), rng.normal(1, 0.04)
    if look.vignette == 1.0:
        lens: Numbers = _sigmoid((rng.uniform(1.02, 1.2) - distance) / 0.02)
    else:
        lens = 1 - 0.9 * ((0.05 + look.vignette) * np.maximum(distance - 0.3, 0) ** 2)
    # Grain takes one number a pixel, so it comes last: any size then shows the same lesion.
    grain = cv2.GaussianBlur(rng.normal(0, 0.05, (size, size)), (0, 0), 0.8)
    # Down to 0.06, not to black: a lens barrel reflects some light.
    light = np.asarray((1 + grain) * np.maximum(lens, 0.06))
    lit = (image * light[..., None] * np.array(look.cast)).astype(np.float32)
    soft = cv2.GaussianBlur(lit, (0, 0), size / 96 * blur) * gain
    noisy = np.asarray(soft + rng.normal(0, 0.012, image.shape))
    return np.asarray(np.clip(np.rint(noisy * 255), 0, 255), np.uint8)
