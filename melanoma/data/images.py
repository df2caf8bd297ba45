"""The decoder: the one way in which bytes become pixels, for training and serving alike.

Policies (stated once, here): JPEG, PNG and WEBP by an explicit list of formats; MPO and animations
give their first frame; EXIF orientation is applied; alpha is laid over white; grey, palette, 16-bit
and CMYK are converted to sRGB, as an embedded color profile says; one that is broken is ignored,
with a warning. Size limits are checked before decoding, and so is what decoding would cost: no
accepted file takes more than a second or two.
"""

from __future__ import annotations

import hashlib
import io
import warnings as python_warnings
from pathlib import Path
from typing import NamedTuple, TypeAlias

import cv2
import numpy as np
from PIL import Image

from melanoma.data import jpeg_structure, png_structure
from melanoma.data.bit_depth import find_bits
from melanoma.data.color import IGNORED, find_color_change
from melanoma.data.compression import compression_warnings
from melanoma.data.containers import read_member, split_member, stat_source
from melanoma.data.decoding_room import BYTES_A_PIXEL, PROGRESSIVE_BYTES_A_PIXEL, ROOM
from melanoma.data.file_states import FileState
from melanoma.data.foreign_formats import name_format
from melanoma.data.jpeg_damage import check_jpeg
from melanoma.data.jpeg_pixels import decode_jpeg
from melanoma.data.jpeg_structure import JpegStructure, read_jpeg, require_affordable
from melanoma.data.png_structure import PngStructure, read_png, require_sound, without_excess
from melanoma.data.rgb import has_low_information, make_upright, read_orientation, to_rgb
from melanoma.data.webp_structure import decode_webp, is_webp, require_few_chunks, require_spent
from melanoma.errors import ImageError
from melanoma.storage import read_file
from melanoma.types import Pixels as Pixels  # whoever decodes finds it here

# OpenCV's own threads fight with torch's and with the loader's workers.
cv2.setNumThreads(0)

# What arrays and bundles state. It rises when any acceptable file gives other pixels than before:
# 1 ignored color profiles, and took 12-bit grey in 16 bits as it stands. 2 ignored a PNG's gAMA and
# cHRM, and the Adobe RGB of cameras that embed no profile.
DECODER_VERSION = 3

Structure: TypeAlias = JpegStructure | PngStructure | None  # a WEBP's has nothing to ask for

FORMATS = ("JPEG", "PNG", "WEBP")  # MPO comes through the JPEG reader and has none of its own
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".jfi", ".jif", ".pjpeg", ".pjp", ".mpo"),
    *(".png", ".apng", ".webp"),
)
MAX_BYTES = 10_000_000  # of an upload; who decodes bytes says whether they are one
MAX_FILE_BYTES = 100_000_000  # of a file in a data set, such as a PNG of 50 megapixels
MAX_PIXELS = 50_000_000
MIN_SIDE, MAX_SIDE = 16, 12_000
MAX_ASPECT = 10.0
DAMAGED = "the image is damaged or cut off"


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


class FileSquare(NamedTuple):
    """A file's square, what the file was, and the warnings of its photograph."""

    square: Pixels
    facts: FileFacts
    state: FileState
    warnings: tuple[str, ...]


def count_pixels(data: bytes, *, limit: int = MAX_BYTES) -> int:
    """Pixels that decoding `data` makes. Raises ImageError for what needs no decoding to refuse."""
    with python_warnings.catch_warnings():
        python_warnings.simplefilter("ignore")
        width, height = _open_checked(data, limit)[0].size
    return width * height


def decode_image(data: bytes, *, limit: int = MAX_BYTES) -> Photograph:
    """The photograph in `data`, of at most `limit` bytes.

    Raises ImageError with a code when it is not acceptable.
    """
    with python_warnings.catch_warnings():
        python_warnings.simplefilter("ignore")
        pixels, warnings = _decode(data, limit)
    if has_low_information(pixels):
        warnings.append("low_information")
    return Photograph(pixels, (*warnings, *compression_warnings(pixels)))


def _decode(data: bytes, limit: int) -> tuple[Pixels, list[str]]:
    """Upright pixels, and warnings of the file; waits for room in the process's memory."""
    image, structure = _open_checked(data, limit)
    with ROOM.hold(image.width * image.height * _bytes_a_pixel(structure)):
        warnings = list(_check_damage(data, structure))
        try:
            if getattr(image, "n_frames", 1) > 1:
                warnings.append("multi_frame")
            image.seek(0)
            decoded = _decode_rows(data, image, structure)
            if decoded is None:
                image.load()
            orientation = read_orientation(image)
            pixels, more = _to_srgb(image, structure, decoded)
            warnings += more
        except MemoryError:
            raise
        except Exception as error:
            raise ImageError("corrupt_image", DAMAGED) from error
        del image, decoded  # before the turn makes another copy
        return make_upright(pixels, orientation), warnings


def _decode_rows(data: bytes, image: Image.Image, structure: Structure) -> Pixels | None:
    """The stored rows, where another than Pillow decodes them."""
    if structure is None:
        return decode_webp(data)
    return decode_jpeg(data, structure, image) if isinstance(structure, JpegStructure) else None


def _bytes_a_pixel(structure: Structure) -> int:
    progressive = isinstance(structure, JpegStructure) and structure.is_progressive
    return PROGRESSIVE_BYTES_A_PIXEL if progressive else BYTES_A_PIXEL


def _to_srgb(
    image: Image.Image, structure: Structure, decoded: Pixels | None
) -> tuple[Pixels, tuple[str, ...]]:
    """The stored rows in sRGB, and warnings of colors and depth that could not be heeded.

    `decoded` are the rows where another than `image` decoded them.
    """
    change = find_color_change(image)
    bits, warnings = 16, list(change.warnings)
    if isinstance(structure, PngStructure):
        bits, more = find_bits(image, structure)
        warnings += [*more, IGNORED] if structure.bad_profile else more
    rows = image if decoded is None else decoded
    return to_rgb(rows, color=change.transform, bits=bits), tuple(warnings)


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


def read_file_square(path: Path, *, size: int, fit: str) -> FileSquare:
    """The photograph as a square, and what the file was before. Raises ImageError."""
    try:
        stat, data = stat_source(path), read_photograph(path)
    except OSError as error:
        raise ImageError("unreadable_file", f"cannot be read: {error.strerror}") from error
    pixels, warnings = decode_image(data, limit=MAX_FILE_BYTES)
    height, width = pixels.shape[:2]
    digest = hashlib.sha256(data).hexdigest()
    state = FileState(len(data), stat.st_mtime_ns, stat.st_ctime_ns, digest)
    square = make_square(pixels, size=size, fit=fit)
    return FileSquare(square, FileFacts(width, height, len(data)), state, warnings)


def read_photograph(path: Path) -> bytes:
    """The bytes of a file in a data set, or of a container's member, not decoded.

    Raises OSError where it cannot be read, ImageError where it is so large that it need not be.
    """
    member = split_member(path)
    if member is not None:
        return read_member(*member)
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise _too_large(size, MAX_FILE_BYTES)
    return read_file(path)


def _too_large(size: int, limit: int) -> ImageError:
    return ImageError("too_large", f"the file has {size:,} bytes; the limit is {limit:,}")


def _resize(pixels: Pixels, size: tuple[int, int], interpolation: int) -> Pixels:
    return cv2.resize(pixels, size, interpolation=interpolation).astype(np.uint8, copy=False)


def _open_checked(data: bytes, limit: int) -> tuple[Image.Image, Structure]:
    """The image, its structure and its header read and its size allowed, nothing decoded yet."""
    if not data:
        raise ImageError("empty_file", "the file is empty")
    if len(data) > limit:
        raise _too_large(len(data), limit)
    structure = _read_structure(data)
    if isinstance(structure, PngStructure):
        data = without_excess(data, structure)
    image = _open_image(data)
    _check_size(*image.size)
    if isinstance(structure, JpegStructure):
        require_affordable(structure)
    return image, structure


def _read_structure(data: bytes) -> Structure:
    """What the file says of itself. Raises ImageError for what would take too long to decode."""
    if data.startswith(jpeg_structure.START):
        return read_jpeg(data)
    if data.startswith(png_structure.START):
        return read_png(data)
    if is_webp(data):
        require_few_chunks(data)
        return None
    name = name_format(data)
    what = f"this is {name}, " if name else ""
    raise ImageError(
        "unsupported_format", f"{what}not a JPEG, PNG or WEBP image; convert to JPEG/PNG"
    )


def _check_damage(data: bytes, structure: Structure) -> tuple[str, ...]:
    """Warnings. Raises ImageError for damage that Pillow says nothing of.

    A decoder may be content with what is none: each format has its own signs.
    """
    if isinstance(structure, JpegStructure):
        return check_jpeg(data, structure)
    if isinstance(structure, PngStructure):
        require_sound(data, structure)
    else:
        require_spent(data)
    return ()


def _open_image(data: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except MemoryError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(
            "too_many_pixels", f"more than {MAX_PIXELS // 1_000_000} megapixels"
        ) from error
    # Whatever else: decoders meet odd bytes with AssertionError, KeyError, struct.error and more,
    # and each says no more than that this file is damaged.
    except Exception as error:
        raise ImageError("corrupt_image", DAMAGED) from error


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
