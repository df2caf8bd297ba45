"""Image files made byte by byte: what a damaged disk, an odd writer or an attacker hands in."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Color = tuple[float, float, float]

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


def icc_profile(space: bytes, tags: dict[bytes, bytes], *, kind: bytes = b"mntr") -> bytes:
    """A version 2 profile of the ICC; `space` has four letters, as b"RGB "."""
    pcs = b"Lab " if b"A2B0" in tags else b"XYZ "
    white = b"".join(map(_fixed, (0.9642, 1.0, 0.8249)))
    tags = {b"wtpt": b"XYZ " + bytes(4) + white, **tags}
    table, body = b"", b""
    start = 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        content += bytes(-len(content) % 4)
        table += name + struct.pack(">II", start + len(body), len(content))
        body += content
    head = struct.pack(">I4xI4s4s4s12x4s28x", start + len(body), 2 << 24, kind, space, pcs, b"acsp")
    return (head + white).ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def icc_gamma(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))


def icc_rgb(red: Color, green: Color, blue: Color, *, gamma: float, ballast: int = 0) -> bytes:
    """A profile of three primaries, given in XYZ under D50; `ballast` bytes more are no harm."""
    primaries = zip((b"r", b"g", b"b"), (red, green, blue), strict=True)
    tags = {b"text": b"text" + bytes(4 + ballast)} if ballast else {}
    for name, color in primaries:
        tags[name + b"XYZ"] = b"XYZ " + bytes(4) + b"".join(map(_fixed, color))
        tags[name + b"TRC"] = icc_gamma(gamma)
    return icc_profile(b"RGB ", tags)


def icc_cmyk(lab_of: Callable[[tuple[int, ...]], Color]) -> bytes:
    """A printer's profile whose sixteen mixtures of full inks have the given L*a*b*."""
    straight = bytes(range(256))
    nodes = b""
    for inks in np.ndindex(2, 2, 2, 2):
        lightness, a, b = lab_of(inks)
        nodes += bytes([round(lightness * 2.55), round(a + 128), round(b + 128)])
    unit = b"".join(map(_fixed, (1, 0, 0, 0, 1, 0, 0, 0, 1)))
    lut = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + unit + straight * 4 + nodes + straight * 3
    return icc_profile(b"CMYK", {b"A2B0": lut}, kind=b"prtr")


def _fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def with_chunk(png: bytes, kind: bytes, content: bytes) -> bytes:
    """The PNG with a chunk more, after its header."""
    return png[:33] + png_chunk(kind, content) + png[33:]
