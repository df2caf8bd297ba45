"""A WEBP's chunks, counted without decoding, its pixels, and whether they make sense.

OpenCV decodes, with the same libwebp as Pillow and so to the same values. Pillow keeps Python's
lock meanwhile, a quarter of a second for 50 megapixels in which no other thread answers anybody,
and takes 15 bytes a pixel for OpenCV's 6.
"""

from __future__ import annotations

import cv2
import numpy as np

from melanoma.errors import ImageError
from melanoma.types import Pixels

MAX_CHUNKS = 1_000
_STRIP_ROWS = 256
_PIXELS, _FRAME_HEADER = (b"VP8 ", b"VP8L"), 16
_SPARE = 8  # bytes

# OpenCV would write a line of its own to stderr for each file that it refuses.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def is_webp(data: bytes) -> bool:
    """Whether the bytes begin as a WEBP does."""
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP"


def require_few_chunks(data: bytes) -> None:
    """Raise ImageError (`too_complex`) where there are more chunks than a photograph has."""
    at = 12
    for _ in range(MAX_CHUNKS):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + size + size % 2
        if at + 8 > len(data):
            return
    raise ImageError("too_complex", f"a WEBP with more than {MAX_CHUNKS:,} chunks; save it again")


def require_spent(data: bytes) -> None:
    """Raise ImageError (`corrupt_image`) where the pixels need less coded data than there is.

    A WEBP has no checksum, and libwebp decodes whatever comes. But who has lost his place in it
    ends too late, which libwebp says, or too early: then the same data without its last bytes
    decodes just as well. What is whole needs all but two or three of them.
    """
    chunk = _coded(data)
    if chunk is None or len(chunk[1]) < 4 * _SPARE:
        return
    kind, coded = chunk[0], chunk[1][:-_SPARE]
    content = kind + len(coded).to_bytes(4, "little") + coded + b"\0" * (len(coded) % 2)
    alone = b"RIFF" + (len(content) + 4).to_bytes(4, "little") + b"WEBP" + content
    if cv2.imdecode(np.frombuffer(alone, np.uint8), cv2.IMREAD_UNCHANGED) is not None:
        raise ImageError("corrupt_image", "the image is damaged: its coded data is wrong")


def _coded(data: bytes) -> tuple[bytes, bytes] | None:
    """The kind and the content of the chunk that holds the first frame's pixels."""
    at = 12
    while at + 8 <= len(data):
        kind, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if kind in _PIXELS:
            return kind, data[at + 8 : at + 8 + size]
        at += 8 + (_FRAME_HEADER if kind == b"ANMF" else size + size % 2)
    return None


def decode_webp(data: bytes) -> Pixels:
    """The first frame, (H, W, 3) RGB or (H, W, 4) RGBA uint8. Raises ValueError for damage."""
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None:
        raise ValueError("no WEBP that can be decoded")
    pixels: Pixels = decoded.astype(np.uint8, copy=False)
    code = cv2.COLOR_BGR2RGB if pixels.shape[2] == 3 else cv2.COLOR_BGRA2RGBA
    for top in range(0, len(pixels), _STRIP_ROWS):
        pixels[top : top + _STRIP_ROWS] = cv2.cvtColor(pixels[top : top + _STRIP_ROWS], code)
    return pixels
