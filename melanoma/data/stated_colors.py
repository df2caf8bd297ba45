"""Colors that a file states without a profile: a PNG's gAMA and cHRM, a camera's Adobe RGB.

Cameras that are set to Adobe RGB embed no profile: EXIF's interoperability says `R03` (DCF 2.0). A
PNG's sRGB chunk, or a profile, says more than gAMA and cHRM, which are then not looked at.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from PIL import ExifTags, Image

from melanoma.types import Floats

_Point: TypeAlias = tuple[float, float]  # x and y, CIE 1931


class _Space(NamedTuple):
    """White, red, green, blue, and the exponent that makes light of a sample."""

    points: tuple[_Point, ...]
    gamma: float


_D65 = (0.3127, 0.3290)
_SRGB = _Space((_D65, (0.64, 0.33), (0.30, 0.60), (0.15, 0.06)), 2.2)
_ADOBE = _Space((_D65, (0.64, 0.33), (0.21, 0.71), (0.15, 0.06)), 563 / 256)
# Writers round; libpng takes 5 % of gamma for the same.
_SAME_GAMMA, _SAME_POINT = 0.05, 0.01
_SANE_GAMMA = (0.2, 5.0)
_COLOR_SPACE, _INDEX = 0xA001, 0x0001
_ADOBE_SPACE = 2  # of no standard, and written all the same
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
_D50 = np.array([0.9642, 1.0, 0.8249])


def stated_profile(image: Image.Image, *, grey: bool) -> bytes | None:
    """An ICC profile of what the file states, for a `grey` image or one of colors; None where it
    states nothing, or sRGB. Raises ValueError for what cannot be meant."""
    space = _of_png(image) if image.format == "PNG" else _of_camera(image)
    if space is None:
        return None
    if grey:
        return _profile(b"GRAY", {b"kTRC": _curve(space.gamma)})
    primaries = _primaries(space.points)
    tags = {}
    for name, color in zip((b"r", b"g", b"b"), primaries.T.tolist(), strict=True):
        tags[name + b"XYZ"] = _xyz(color)
        tags[name + b"TRC"] = _curve(space.gamma)
    return _profile(b"RGB ", tags)


def _of_png(image: Image.Image) -> _Space | None:
    stored, places = image.info.get("gamma"), image.info.get("chromaticity")
    if "srgb" in image.info or (stored is None and places is None):
        return None
    gamma, points = _SRGB.gamma, _SRGB.points
    if stored is not None:
        if not _SANE_GAMMA[0] <= stored * _SRGB.gamma <= _SANE_GAMMA[1]:
            raise ValueError(f"gAMA {stored}")
        gamma = 1 / stored
    if places is not None:
        x, y = places[::2], places[1::2]
        points = tuple(zip(x, y, strict=True))
    gaps = np.abs(np.subtract(points, _SRGB.points))
    if abs(gamma / _SRGB.gamma - 1) <= _SAME_GAMMA and gaps.max() <= _SAME_POINT:
        return None
    return _Space(points, gamma)


def _of_camera(image: Image.Image) -> _Space | None:
    try:
        exif = image.getexif()
        space = exif.get_ifd(ExifTags.IFD.Exif).get(_COLOR_SPACE)
        index = str(exif.get_ifd(ExifTags.IFD.Interop).get(_INDEX, "")).strip("\0 ")
    except MemoryError:
        raise
    except Exception:  # Pillow raises a dozen kinds here; what cannot be read states nothing
        return None
    return _ADOBE if space == _ADOBE_SPACE or (index == "R03" and space != 1) else None


def _primaries(points: Sequence[_Point]) -> Floats:
    """(3, 3): columns red, green and blue in XYZ under D50, as profiles have them."""
    white, *colors = [np.array([x / y, 1.0, (1 - x - y) / y]) for x, y in points]
    mixed = np.stack(colors, axis=1)
    light = mixed * np.linalg.solve(mixed, white)
    scale = np.diag((_BRADFORD @ _D50) / (_BRADFORD @ white))
    matrix: Floats = np.linalg.inv(_BRADFORD) @ scale @ _BRADFORD @ light
    return matrix


def _profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    """A display's profile of ICC's version 2."""
    tags = {b"wtpt": _xyz(_D50.tolist()), **tags}
    table, body, start = b"", b"", 132 + 12 * len(tags)
    for name, content in tags.items():
        table += name + struct.pack(">II", start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(
        ">I4xI4s4s4s12x4s28x", start + len(body), 2 << 24, b"mntr", space, b"XYZ ", b"acsp"
    )
    return (
        (head + _xyz(_D50.tolist())[8:]).ljust(128, b"\0")
        + struct.pack(">I", len(tags))
        + table
        + body
    )


def _curve(gamma: float) -> bytes:
    # Of 1,024 steps: the single number that a curve may be has 8 bits behind its point.
    steps = np.linspace(0, 1, 1024) ** gamma
    return (
        b"curv"
        + bytes(4)
        + struct.pack(">I", 1024)
        + (steps * 65535).round().astype(">u2").tobytes()
    )


def _xyz(color: Sequence[float]) -> bytes:
    return b"XYZ " + bytes(4) + b"".join(struct.pack(">i", round(v * 65536)) for v in color)
