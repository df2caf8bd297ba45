"""The decoder: the one way in which bytes become pixels, for training and serving alike.

Policies (stated once, here): JPEG, PNG and WEBP by an explicit list of formats; MPO and animations
give their first frame; EXIF orientation is applied; alpha is laid over white; grey, palette, 16-bit
and CMYK are converted to RGB; ICC profiles are ignored. Size limits are checked before decoding.
"""

from __future__ import annotations

import io
import struct
import warnings as python_warnings
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from melanoma.errors import ImageError
from melanoma.storage import read_file

Pixels = npt.NDArray[np.uint8]

FORMATS = ("JPEG", "PNG", "WEBP")  # MPO comes through the JPEG reader and has none of its own
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
MAX_BYTES = 10_000_000
MAX_PIXELS = 50_000_000
MIN_SIDE, MAX_SIDE = 16, 12_000
MAX_ASPECT = 10.0
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Below this standard deviation of grey levels there is nothing to see: a lens cap, a white sheet.
LOW_INFORMATION = 4.0


class Photograph(NamedTuple):
    """Pixels (H, W, 3) uint8 RGB, upright, and what a caller should be warned of."""

    pixels: Pixels
    warnings: tuple[str, ...]


class FileFacts(NamedTuple):
    """The upright photograph's width and height in pixels, and its file's size in bytes.

    Artefacts of acquisition: reported as a shortcut, never a model's input.
    """

    width: int
    height: int
    bytes: int


def count_pixels(data: bytes) -> int:
    """Pixels that decoding `data` makes. Raises ImageError for what needs no decoding to refuse."""
    with python_warnings.catch_warnings():
        python_warnings.simplefilter("ignore")
        width, height = _open_checked(data).size
    return width * height


def decode_image(data: bytes) -> Photograph:
    """The photograph in `data`. Raises ImageError with a code when it is not acceptable."""
    with python_warnings.catch_warnings():
        python_warnings.simplefilter("ignore")
        image = _open_checked(data)
        frames = getattr(image, "n_frames", 1)
        try:
            image.seek(0)
            image.load()
            pixels = _to_rgb(_upright(image))
        except (OSError, ValueError, SyntaxError, EOFError, TypeError, IndexError) as error:
            raise ImageError("corrupt_image", "the image is damaged or cut off") from error
    found = ["multi_frame"] if frames > 1 else []
    if pixels.mean(axis=2).std() < LOW_INFORMATION:
        found.append("low_information")
    return Photograph(pixels, tuple(found))


def make_square(pixels: Pixels, *, size: int, fit: str) -> Pixels:
    """A (size, size, 3) image: the whole squashed, or its centre square, resampled by area."""
    pixels = scored_part(pixels, fit=fit)
    height, width = pixels.shape[:2]
    # Area averaging only shrinks; a side that must grow does so in a second, linear, step.
    shrunk = (min(width, size), min(height, size))
    if (width, height) != shrunk:
        pixels = _resize(pixels, shrunk, cv2.INTER_AREA)
    if shrunk != (size, size):
        pixels = _resize(pixels, (size, size), cv2.INTER_LINEAR)
    # What Pillow decodes is read-only, of which torch warns.
    return np.require(pixels, requirements=["C", "W"])


def scored_part(pixels: Pixels, *, fit: str) -> Pixels:
    """The part of a photograph that becomes the square: the whole, or its centre square."""
    if fit != "center":
        return pixels
    height, width = pixels.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return pixels[top : top + side, left : left + side]


def read_square(path: Path, *, size: int, fit: str) -> Pixels:
    """The file's photograph as a square. Raises ImageError, also when the file cannot be read."""
    return read_measured(path, size=size, fit=fit)[0]


def read_measured(path: Path, *, size: int, fit: str) -> tuple[Pixels, FileFacts]:
    """What read_square gives, and what the file was before it became a square."""
    try:
        data = read_file(path)
    except OSError as error:
        raise ImageError("unreadable_file", f"cannot be read: {error.strerror}") from error
    pixels = decode_image(data).pixels
    height, width = pixels.shape[:2]
    return make_square(pixels, size=size, fit=fit), FileFacts(width, height, len(data))


def _resize(pixels: Pixels, size: tuple[int, int], interpolation: int) -> Pixels:
    return cv2.resize(pixels, size, interpolation=interpolation).astype(np.uint8, copy=False)


def _open_checked(data: bytes) -> Image.Image:
    """The image, its header read and its size allowed, nothing decoded yet."""
    if not data:
        raise ImageError("empty_file", "the file is empty")
    if len(data) > MAX_BYTES:
        raise ImageError(
            "too_large", f"the file has {len(data):,} bytes; the limit is {MAX_BYTES:,}"
        )
    image = _open_image(data)
    _check_size(*image.size)
    return image


def _open_image(data: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        raise ImageError(
            "unsupported_format", "not a JPEG, PNG or WEBP image; convert to JPEG/PNG"
        ) from error
    except Image.DecompressionBombError as error:
        raise ImageError(
            "too_many_pixels", f"more than {MAX_PIXELS // 1_000_000} megapixels"
        ) from error
    except (OSError, ValueError, SyntaxError, EOFError, TypeError, IndexError) as error:
        raise ImageError("corrupt_image", "the image is damaged or cut off") from error


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        raise ImageError(
            "too_many_pixels",
            f"{width} x {height} pixels; the limits are {MAX_PIXELS // 1_000_000} megapixels "
            f"and {MAX_SIDE:,} a side",
        )
    if min(width, height) < MIN_SIDE:
        raise ImageError("too_small", f"{width} x {height} pixels; {MIN_SIDE} a side are needed")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ImageError("bad_aspect", f"{width} x {height} pixels is too narrow a strip")


def _upright(image: Image.Image) -> Image.Image:
    """The image turned as its EXIF orientation says.

    Pillow's exif_transpose also rewrites the EXIF block, and fails on photographs in which any
    other tag is odd; only the one tag is read here.
    """
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except (OSError, ValueError, SyntaxError, TypeError, KeyError, struct.error):
        return image
    turn = _TURNS.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(turn)


def _to_rgb(image: Image.Image) -> Pixels:
    if image.mode.startswith("I"):
        # Pillow clips 16-bit grey at 255 instead of scaling it.
        grey = (np.asarray(image).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return np.asarray(image.convert("RGB"))
