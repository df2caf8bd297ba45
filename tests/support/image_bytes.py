"""Image files made byte by byte: what a damaged disk, an odd writer or an attacker hands in."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy.typing as npt
from PIL import Image

PNG_START = b"\x89PNG\r\n\x1a\n"


def encoded(pixels: npt.NDArray[Any] | Image.Image, kind: str, **options: Any) -> bytes:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_chunk(kind: bytes, content: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + check


def png_of(header: bytes, *chunks: bytes) -> bytes:
    """A PNG of the IHDR's content and whole chunks."""
    return PNG_START + png_chunk(b"IHDR", header) + b"".join(chunks) + png_chunk(b"IEND", b"")


def palette_png_without_palette() -> bytes:
    header = struct.pack(">IIBBBBB", 64, 64, 8, 3, 0, 0, 0)
    rows = (b"\0" + bytes(range(64))) * 64
    return png_of(header, png_chunk(b"IDAT", zlib.compress(rows)))


def jpeg_segment(marker: int, content: bytes = b"") -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(content) + 2) + content


def jpeg_frame(marker: int, *, width: int, height: int, bits: int = 8, parts: int = 1) -> bytes:
    """A start of frame; the components are not subsampled."""
    rows = b"".join(bytes([number + 1, 0x11, 0]) for number in range(parts))
    return jpeg_segment(marker, struct.pack(">BHHB", bits, height, width, parts) + rows)


def jpeg_scan(first: int, last: int, *, high: int, low: int, part: int = 1) -> bytes:
    """A scan of one component, of two coded bytes."""
    head = bytes([1, part, 0, first, last, high << 4 | low])
    return jpeg_segment(0xDA, head) + b"\xff\x00\x00"


def jpeg_of(*segments: bytes) -> bytes:
    return b"\xff\xd8" + b"".join(segments) + b"\xff\xd9"


def with_segment(jpeg: bytes, extra: bytes) -> bytes:
    """The photograph with `extra` before its first segment."""
    return jpeg[:2] + extra + jpeg[2:]
