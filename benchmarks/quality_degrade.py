"""What spoils a photograph, for benchmarks/quality.py: blur, distance, light, fog, small files.

Lengths are in pixels of HAM10000's own photographs, 450 high; the squares here may be smaller, and
every length is scaled to them.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from melanoma.data.images import Pixels, make_square

HEIGHT = 450  # of HAM10000's photographs, 600 x 450
Degrade = Callable[[Pixels, np.random.Generator], Pixels]


def gaussian(sigma: float) -> Degrade:
    """Out of focus: a Gaussian of this standard deviation."""

    def blur(square: Pixels, rng: np.random.Generator) -> Pixels:
        return cv2.GaussianBlur(square, (0, 0), sigma * len(square) / HEIGHT).astype(np.uint8)

    return blur


def motion(length: float) -> Degrade:
    """The hand moved by this length, in any direction."""

    def blur(square: Pixels, rng: np.random.Generator) -> Pixels:
        reach = length * len(square) / HEIGHT
        side = 2 * int(np.ceil(reach)) + 3
        angle = rng.uniform(0, np.pi)
        half = reach / 2 * np.array([np.cos(angle), np.sin(angle)])
        ends = [
            tuple((16 * (side // 2 + end)).round().astype(int).tolist()) for end in (-half, half)
        ]
        kernel = np.zeros((side, side), np.float32)
        cv2.line(kernel, ends[0], ends[1], 1.0, 1, cv2.LINE_AA, 4)
        return cv2.filter2D(square, -1, kernel / kernel.sum()).astype(np.uint8)

    return blur


def far(times: float, *, mirrored: bool = False) -> Degrade:
    """Taken from so far that the old frame is one `times`-th of the new one's side."""

    def shrink(square: Pixels, rng: np.random.Generator) -> Pixels:
        side = round(len(square) / times)
        small = cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA)
        middle = (len(square) - side) // 2
        return _on_skin(square, as_pixels(small), middle, middle, rng, mirrored=mirrored)

    return shrink


def off(share: float, *, mirrored: bool = False) -> Degrade:
    """The lesion's middle moved by this share of the side, in any direction; skin where it was."""

    def move(square: Pixels, rng: np.random.Generator) -> Pixels:
        angle, side = rng.uniform(0, 2 * np.pi), len(square)
        down, right = (share * side * np.array([np.sin(angle), np.cos(angle)])).round().astype(int)
        return _on_skin(square, square, int(down), int(right), rng, mirrored=mirrored)

    return move


def light(times: float) -> Degrade:
    """Under or over exposed: every value times this, cut at 255."""

    def expose(square: Pixels, rng: np.random.Generator) -> Pixels:
        return np.clip(square.astype(np.float64) * times, 0, 255).astype(np.uint8)

    return expose


def fog(share: float) -> Degrade:
    """Behind fog: this share of the photograph is even light gray."""

    def veil(square: Pixels, rng: np.random.Generator) -> Pixels:
        return (200 * share + square * (1 - share)).astype(np.uint8)

    return veil


def colorless(square: Pixels, rng: np.random.Generator) -> Pixels:
    """In shades of gray."""
    return np.repeat(cv2.cvtColor(square, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)


def tiny(side: int) -> Degrade:
    """The whole in a file of side x side pixels."""

    def shrink(square: Pixels, rng: np.random.Generator) -> Pixels:
        return make_square(square, size=side, fit="center")

    return shrink


def jpeg(quality: int) -> Degrade:
    """Saved as a JPEG of this quality."""

    def save(square: Pixels, rng: np.random.Generator) -> Pixels:
        data = cv2.imencode(".jpg", square[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        return as_pixels(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))[..., ::-1])

    return save


DEGRADATIONS: dict[str, Degrade] = {
    **{f"Gaussian blur of {sigma} px": gaussian(sigma) for sigma in (4, 8, 16, 32)},
    **{f"motion blur of {length} px": motion(length) for length in (32, 64)},
    **{f"frame at 1/{n}, bare skin around": far(n) for n in (2, 3, 6)},
    "frame at 1/6, mirrored around": far(6, mirrored=True),
    "moved by 0.3 of the side": off(0.3),
    "moved by 0.45 of the side": off(0.45),
    "moved by 0.45 of the side, mirrored": off(0.45, mirrored=True),
    **{f"light times {times}": light(times) for times in (0.5, 0.25, 0.1, 1.5, 2, 3)},
    "fog of 80 %": fog(0.8),
    "in shades of gray": colorless,
    **{f"file of {side} x {side}": tiny(side) for side in (16, 32, 64)},
    **{f"JPEG of quality {quality}": jpeg(quality) for quality in (5, 10)},
}


def as_pixels(image: np.ndarray) -> Pixels:
    """What OpenCV gave, as (H, W, 3) uint8 in one piece."""
    return np.ascontiguousarray(image, dtype=np.uint8)


def _on_skin(
    square: Pixels, part: Pixels, top: int, left: int, rng: np.random.Generator, *, mirrored: bool
) -> Pixels:
    """`part` laid on a canvas as large as `square`, around it even skin or the part mirrored."""
    size, side = len(square), len(part)
    if mirrored:
        above, below = max(top, 0), max(size - top - side, 0)
        before, behind = max(left, 0), max(size - left - side, 0)
        wide = cv2.copyMakeBorder(part, above, below, before, behind, cv2.BORDER_REFLECT)
        down, across = max(-top, 0), max(-left, 0)
        return as_pixels(wide[down : down + size, across : across + size])
    canvas = _skin(square, rng)
    # Dark corners and the frame's edge melt into the skin.
    axis = (np.arange(side) + 0.5) / side - 0.5
    radius = np.hypot(*np.meshgrid(axis, axis))
    weight = np.clip((0.5 - radius) / 0.08, 0, 1)[..., None]
    y, x = np.arange(top, top + side), np.arange(left, left + side)
    inside_y, inside_x = (y >= 0) & (y < size), (x >= 0) & (x < size)
    at = np.ix_(y[inside_y], x[inside_x])
    laid, weight = part[inside_y][:, inside_x], weight[inside_y][:, inside_x]
    canvas[at] = weight * laid + (1 - weight) * canvas[at]
    return np.clip(canvas, 0, 255).astype(np.uint8)


def _skin(square: Pixels, rng: np.random.Generator) -> np.ndarray:
    """Bare skin of the color around the lesion: light from one side, mottled, a little noise."""
    size = len(square)
    axis = (np.arange(size) + 0.5) / size - 0.5
    right, down = np.meshgrid(axis, axis)
    radius = np.hypot(right, down)
    ring = square[(radius > 0.4) & (radius < 0.5)].astype(np.float64)
    bright = ring[ring.sum(axis=1) >= np.median(ring.sum(axis=1))].mean(axis=0)
    angle = rng.uniform(0, 2 * np.pi)
    shade = 1 + 0.16 * (right * np.cos(angle) + down * np.sin(angle))
    mottled = cv2.resize(rng.normal(0, 1, (12, 12)), (size, size), interpolation=cv2.INTER_CUBIC)
    noise = rng.normal(0, 3, (size, size, 1)) + rng.normal(0, 1, (size, size, 3))
    return bright * (shade + 0.02 * mottled)[..., None] + noise
