"""Fingerprints: a photograph as 88 numbers that a re-save leaves alone and a turn only permutes.

The square's luminance at 32 px is flattened (a dermoscope's dark corners and the flash are the same
on every photograph of a clinic, and would make strangers alike), and its first cosine coefficients
are kept. In that basis the eight rotations and flips are a change of signs and a transposition, and
the fingerprint of a crop comes from the same 32 px: no image is turned or cut to be looked up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from melanoma.data.images import Pixels
from melanoma.types import Integers

Floats32 = npt.NDArray[np.float32]

SIDE = 64  # of the luminance kept for looking at a pair closely
_COARSE = 32
_ORDER = 12  # cosines along a side
_BLOCK = 256
_MIDDLE, _LOW, _HIGH = 0.035, 0.0, 0.07
# (top, left, share of the side): the whole, five crops that lie within 3.5 % of every crop of up
# to 10 %, and a centre crop of a sixth. Between them a fingerprint loses less than a tenth.
WINDOWS = (
    (0.0, 0.0, 1.0),
    *((y, x, 0.93) for y, x in ((_MIDDLE, _MIDDLE), (_LOW, _LOW), (_LOW, _HIGH))),
    *((y, x, 0.93) for y, x in ((_HIGH, _LOW), (_HIGH, _HIGH))),
    (0.08, 0.08, 0.84),
)


class Squares(Protocol):
    """Rows of squares: an ImageArray, or anything that can be read as one."""

    def __len__(self) -> int: ...

    def rows(self, rows: Sequence[int] | Integers) -> Pixels: ...


class View(NamedTuple):
    """One of the eight ways to lay a square: transposed first, then flipped."""

    transposed: bool
    upside_down: bool
    mirrored: bool

    def of(self, image: Floats32) -> Floats32:
        """The (H, W) image seen this way."""
        image = image.T if self.transposed else image
        image = image[::-1] if self.upside_down else image
        return np.ascontiguousarray(image[:, ::-1] if self.mirrored else image)

    def window(self, window: tuple[float, float, float]) -> tuple[float, float, float]:
        """Where a window of the image lies once it is seen this way."""
        top, left, share = window
        top, left = (left, top) if self.transposed else (top, left)
        top = 1 - top - share if self.upside_down else top
        return top, 1 - left - share if self.mirrored else left, share

    @property
    def inverse(self) -> View:
        """The view that leads back."""
        if not self.transposed:
            return self
        return View(True, self.mirrored, self.upside_down)


VIEWS = tuple(View(t, y, x) for t in (False, True) for y in (False, True) for x in (False, True))


class Fingerprints(NamedTuple):
    """What is kept of each image: (N, D) of it, (windows, N, D) of its crops, (N, 64, 64) grey.

    Fingerprints have length 1, or 0 where there is nothing to see.
    """

    whole: Floats32
    crops: Floats32
    grey: Pixels


def make_fingerprints(squares: Squares, blocks: Iterable[Integers]) -> Fingerprints:
    """The fingerprints of the rows in `blocks`, in their order."""
    parts = [_of_block(squares.rows(block)) for block in blocks if len(block)]
    if not parts:
        size = len(_KEPT[0])
        empty = np.zeros((0, size), np.float32)
        return Fingerprints(
            empty,
            np.zeros((len(WINDOWS), 0, size), np.float32),
            np.zeros((0, SIDE, SIDE), np.uint8),
        )
    crops = np.concatenate([crops for crops, _ in parts], axis=1)
    return Fingerprints(crops[0], crops, np.concatenate([grey for _, grey in parts]))


def whole_fingerprints(squares: Squares, blocks: Iterable[Integers]) -> Floats32:
    """(N, D): those of the whole images alone, of the rows in `blocks`, in their order."""
    parts = [
        _fingerprint(_coarse(gray_squares(squares.rows(b))), WINDOWS[0]) for b in blocks if len(b)
    ]
    return np.concatenate(parts) if parts else np.zeros((0, len(_KEPT[0])), np.float32)


def blocks_of(rows: Sequence[int] | Integers) -> list[Integers]:
    """`rows` in pieces that fit into memory whatever the size of a square."""
    row_numbers = np.asarray(rows, dtype=np.int64)
    return [row_numbers[start : start + _BLOCK] for start in range(0, len(row_numbers), _BLOCK)]


def seen_as(fingerprints: Floats32, view: View) -> Floats32:
    """The fingerprints (..., D) that the images would have, laid as in `view`."""
    order, sign = _LAID[view]
    return fingerprints[..., order] * sign


def flatten_light(grey: npt.NDArray[np.generic], *, reach: float, floor: float = 4.0) -> Floats32:
    """(H, W) luminance with its local mean taken off and its local contrast made even.

    `reach` is the Gaussian's sigma in pixels; contrasts below `floor` grey levels are left small:
    what a sensor's noise and JPEG's blocks draw on bare skin is no structure.
    """
    light = grey.astype(np.float32)
    detail = light - cv2.GaussianBlur(light, (0, 0), reach)
    contrast = np.sqrt(cv2.GaussianBlur(detail * detail, (0, 0), reach))
    flat: Floats32 = (detail / (contrast + floor)).astype(np.float32, copy=False)
    return flat


def _of_block(pixels: Pixels) -> tuple[Floats32, Pixels]:
    grey = gray_squares(pixels)
    coarse = _coarse(grey)
    return np.stack([_fingerprint(coarse, window) for window in WINDOWS]), grey


def gray_squares(pixels: Pixels) -> Pixels:
    """(B, 64, 64) luminance of (B, S, S, 3) RGB."""
    return np.stack([_grey(square) for square in pixels])


def _coarse(grey: Pixels) -> Floats32:
    small = [cv2.resize(one, (_COARSE, _COARSE), interpolation=cv2.INTER_AREA) for one in grey]
    return np.stack([flatten_light(one, reach=6) for one in small])


def _grey(square: Pixels) -> Pixels:
    grey = cv2.cvtColor(square, cv2.COLOR_RGB2GRAY)
    if grey.shape[0] == SIDE:
        return grey.astype(np.uint8, copy=False)
    how = cv2.INTER_AREA if grey.shape[0] > SIDE else cv2.INTER_LINEAR
    return cv2.resize(grey, (SIDE, SIDE), interpolation=how).astype(np.uint8, copy=False)


def _fingerprint(coarse: Floats32, window: tuple[float, float, float]) -> Floats32:
    top, left, share = window
    waves = _cosines(top, share) @ coarse @ _cosines(left, share).T
    # Rising with the frequency: coarse shading is what lesions share, edges are their own.
    values = (waves * _WEIGHT)[:, _KEPT[0], _KEPT[1]]
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return np.where(length > _NOTHING, values / np.maximum(length, _NOTHING), 0).astype(np.float32)


def _cosines(start: float, share: float) -> Floats32:
    """(order, 32): the cosines of the window, each pixel weighted by how much of it is inside."""
    edges = np.clip(np.linspace(0, 1, _COARSE + 1), start, start + share)
    inside, middle = np.diff(edges), (edges[:-1] + edges[1:]) / 2
    order = np.arange(_ORDER)[:, None]
    waves: Floats32 = (np.cos(np.pi * order * (middle - start) / share) * inside / share).astype(
        np.float32
    )
    return waves


_DOWN, _ACROSS = np.indices((_ORDER, _ORDER))
_KEPT = np.nonzero((_DOWN + _ACROSS > 0) & (_DOWN + _ACROSS <= _ORDER))
_WEIGHT = np.hypot(_DOWN, _ACROSS).astype(np.float32)
# Length of a fingerprint before it is made 1. The 11,159 photographs of HAM10000 and of SIIM's
# sample have 0.90 at least; a blank sheet 0, one that darkens to a side 0.2, sensor noise 0.4.
_NOTHING = 0.5


def _laid(view: View) -> tuple[Integers, Floats32]:
    number = np.zeros((_ORDER, _ORDER), np.int64)
    number[_KEPT] = np.arange(len(_KEPT[0]))
    down, across = (_KEPT[1], _KEPT[0]) if view.transposed else _KEPT
    sign = (-1.0) ** (view.upside_down * _KEPT[0] + view.mirrored * _KEPT[1])
    return number[down, across], sign.astype(np.float32)


_LAID = {view: _laid(view) for view in VIEWS}
