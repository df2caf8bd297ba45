"""Image files made byte by byte: what a damaged disk, an odd writer or an attacker hands in."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
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
