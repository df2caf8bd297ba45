"""Small files that cost much, or try to: what benchmarks/siege.py throws at the service."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image

_PNG = b"\x89PNG\r\n\x1a\n"


def make_bombs() -> dict[str, bytes]:
    """Files by what they are; the first five are refused, the others are large and sound."""
    plain = _saved(np.full((64, 64, 3), 128, np.uint8), "PNG")
    return {
        "scans": _many_scans(3984, 4000, 90),
        "segments": _saved(np.zeros((64, 64, 3), np.uint8), "JPEG")[:2] + b"\xff\xfe\0\2" * 200_000,
        "header": _png_header(20_000, 20_000),
        "text": plain[:33]
        + _chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1 << 28), 9)) * 4
        + plain[33:],
        "cut": _saved(_noise(900, 1200), "JPEG")[:60_000] + b"\xff\xd9",
        "png of 49 MP": _flat_png(7000, 7000),
        "webp of 49 MP": _saved(np.full((7000, 7000, 3), 90, np.uint8), "WEBP", lossless=True),
        "jpeg of 48 MP": _saved(np.tile(_noise(600, 800), (10, 10, 1)), "JPEG", quality=30),
    }


def _noise(height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    small = rng.integers(60, 200, (height // 20, width // 20, 3), np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height)))


def _saved(pixels: np.ndarray, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def _chunk(kind: bytes, content: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + check


def _png_header(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return _PNG + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(bytes(1000)))


def _flat_png(width: int, height: int) -> bytes:
    rows = zlib.compress(bytes((3 * width + 1) * height), 9)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return _PNG + _chunk(b"IHDR", header) + _chunk(b"IDAT", rows) + _chunk(b"IEND", b"")


def _segment(marker: int, content: bytes) -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(content) + 2) + content


def _many_scans(width: int, height: int, scans: int) -> bytes:
    """A progressive JPEG whose scans bring nothing, each a pass over all its blocks."""
    blocks = -(-width // 8) * -(-height // 8)
    start = b"\xff\xd8" + _segment(0xDB, b"\0" + b"\1" * 64)
    start += _segment(0xC2, struct.pack(">BHHB", 8, height, width, 1) + b"\1\x11\0")
    start += _segment(0xC4, b"\0" + bytes([1]) + bytes(15) + b"\0")
    start += _segment(0xC4, b"\x10" + bytes([1]) + bytes(15) + b"\xe0")
    first = _segment(0xDA, bytes([1, 1, 0, 0, 0, 0])) + bytes(-(-blocks // 8))
    run = int("0" + format(16383, "014b") + "0", 2).to_bytes(2, "big")
    again = _segment(0xDA, bytes([1, 1, 0, 1, 63, 0x10])) + run * (blocks // 32767 + 1)
    return start + first + again * scans + b"\xff\xd9"
