"""The structure of a JPEG, read without decoding: what it is, what it costs, whether it is whole.

One walk over the markers, linear in the bytes and with bounded memory. It sees what libjpeg will
see, so that a file is refused by what decoding it would cost, and before it costs it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from melanoma.errors import ImageError

START = b"\xff\xd8\xff"
# libjpeg goes over every block of a scan, however few bytes the scan has; some 50 ns each.
MAX_BLOCKS = 20_000_000  # 50 megapixels of CMYK, progressive, are 18.7 million
MAX_SCANS = 100
MAX_SEGMENTS = 1_000
# Pillow takes the bytes between segments one by one, in Python.
MAX_STRAY = 10_000

# Within a scan FF is followed by 00 (a coded FF) or by a restart marker; FF FF is fill.
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_FILL = re.compile(rb"[^\xff]")
_WINDOW = 1 << 18
_BARE = {0x01, *range(0xD0, 0xD8)}  # TEM and restarts: no length follows
_UNCODED = {*range(0xE0, 0xF0), 0xFE}  # the applications' segments and comments
_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_BASELINE = 0xC0
_PROGRESSIVE = {0xC2, 0xCA}
_LOSSLESS = {0xC3, 0xC7, 0xCB, 0xCF}
_HIERARCHICAL = {0xC5, 0xC6, 0xCD, 0xCE}
_JPEG_LS = 0xF7
_UNSEEN = 255  # of a coefficient of which no bit has come


@dataclass
class JpegStructure:
    """What the markers say. `components` maps a component's id to its blocks.

    `precision` holds, for each component, how many low bits of its 64 coefficients are still to
    come: all 0 in a whole file. `coded` are the spans that decide the pixels: not the applications'
    segments, comments and stray bytes. `rows` of blocks are coded together, each as its difference
    from the one before; 0 where they are coded otherwise.
    """

    kind: int = 0
    bits: int = 8
    components: dict[int, int] = field(default_factory=dict)
    precision: dict[int, bytearray] = field(default_factory=dict)
    segments: int = 0
    scans: int = 0
    blocks: int = 0
    rows: int = 0
    stray: int = 0
    inconsistent: bool = False
    coded: list[tuple[int, int]] = field(default_factory=list)

    @property
    def is_progressive(self) -> bool:
        """Whether every coefficient is kept until the last scan is read."""
        return self.kind in _PROGRESSIVE

    @property
    def is_whole(self) -> bool:
        """Whether every bit of every coefficient has its place in a scan, in the right order."""
        seen = bool(self.components) and not self.inconsistent
        return seen and not any(any(bits) for bits in self.precision.values())


def read_jpeg(data: bytes) -> JpegStructure:
    """The structure up to the end marker, or to where the bytes end.

    Raises ImageError: `too_complex` for what would take too long to decode, `unsupported_format`
    for JPEGs that are not of the common kind, `corrupt_image` for markers that none may have.
    """
    structure, at = JpegStructure(), 2
    structure.coded.append((0, 2))
    while (position := _next_marker(structure, data, at)) is not None:
        marker = data[position]
        if marker == _EOI:
            structure.coded.append((position - 1, position + 1))
            break
        at = _segment_end(structure, data, position)
        if marker in _FRAMES:
            _read_frame(structure, marker, data[position + 3 : at])
        elif marker == _SOS:
            _read_scan(structure, data[position + 3 : at])
            rest = _search(_NEXT_MARKER, data, at)
            at = rest.start() if rest else len(data)
        elif marker == _JPEG_LS:
            raise _unsupported("a JPEG-LS file")
        if marker not in _UNCODED:
            structure.coded.append((position - 1, at))
        _require_bounded(structure)
    return structure


def require_affordable(structure: JpegStructure) -> None:
    """Raise ImageError (`too_complex`) where the scans go over too many blocks, all in all."""
    if structure.blocks > MAX_BLOCKS:
        raise _too_complex(f"{structure.scans} scans over so many pixels")


def _search(pattern: re.Pattern[bytes], data: bytes, at: int) -> re.Match[bytes] | None:
    """What pattern.search finds, of two bytes at most; a window at a time, since a search keeps
    Python's lock to its end and a service has others to answer."""
    while at < len(data):
        if match := pattern.search(data, at, at + _WINDOW + 1):
            return match
        at += _WINDOW
    return None


def _next_marker(structure: JpegStructure, data: bytes, at: int) -> int | None:
    """Where the next marker's second byte stands; what is passed over on the way is counted."""
    while (start := data.find(b"\xff", at)) >= 0:
        after = _search(_FILL, data, start)
        if after is None:
            break
        position = after.start()
        structure.stray += position - 1 - at
        if structure.stray > MAX_STRAY:
            raise _too_complex(f"more than {MAX_STRAY:,} bytes between its segments")
        if data[position]:
            return position
        at = position + 1
        structure.stray += 2
    return None


def _segment_end(structure: JpegStructure, data: bytes, position: int) -> int:
    marker = data[position]
    structure.segments += 1
    if marker in _BARE:
        return position + 1
    # The reserved ones have no meaning; libjpeg stops at them, or passes over them unread.
    if marker == _SOI or marker < 0xC0:
        raise ImageError("corrupt_image", "the image is damaged: it has a marker of no meaning")
    length = int.from_bytes(data[position + 1 : position + 3], "big")
    if length < 2:
        raise ImageError("corrupt_image", "the image is damaged: it has a segment of no length")
    return min(position + 1 + length, len(data))


def _read_frame(structure: JpegStructure, marker: int, content: bytes) -> None:
    if marker in _LOSSLESS:
        raise _unsupported("a lossless JPEG")
    if marker in _HIERARCHICAL:
        raise _unsupported("a hierarchical JPEG")
    if len(content) < 6 or len(content) < 6 + 3 * content[5] or structure.components:
        structure.inconsistent = True
        return
    structure.kind, structure.bits = marker, content[0]
    if structure.bits != 8:
        raise _unsupported(f"a {structure.bits}-bit JPEG")
    height, width = (int.from_bytes(content[i : i + 2], "big") for i in (1, 3))
    rows = [content[6 + 3 * n : 9 + 3 * n] for n in range(content[5])]
    widest = max((row[1] >> 4 for row in rows), default=1) or 1
    highest = max((row[1] & 15 for row in rows), default=1) or 1
    first = rows[0][1] & 15 if rows else 0
    # Of several scans each goes over the whole image, and of four components none is brightness.
    structure.rows = (
        first if marker == _BASELINE and first == highest and len(rows) in (1, 3) else 0
    )
    if len(rows) == 1:
        structure.rows = min(structure.rows, 1)
    for number, sampling, _ in rows:
        across = -(-width * (sampling >> 4) // (8 * widest))
        structure.components[number] = across * -(-height * (sampling & 15) // (8 * highest))
        structure.precision[number] = bytearray([_UNSEEN]) * 64


def _read_scan(structure: JpegStructure, content: bytes) -> None:
    """Count a scan's blocks, and note which bits of which coefficients it brings."""
    structure.scans += 1
    if structure.scans > 1:
        structure.rows = 0
    count = content[0] if content else 0
    if not count or len(content) < 4 + 2 * count:
        structure.inconsistent = True
        return
    first, last, bits = content[1 + 2 * count : 4 + 2 * count]
    if not structure.is_progressive:
        first, last, bits = 0, 63, 0
    high, low = bits >> 4, bits & 15
    for number in content[1 : 1 + 2 * count : 2]:
        structure.blocks += structure.components.get(number, 0)
        known = structure.precision.get(number)
        expected = high or _UNSEEN
        if known is None or not first <= last < 64 or set(known[first : last + 1]) != {expected}:
            structure.inconsistent = True
        else:
            known[first : last + 1] = bytes([low]) * (last + 1 - first)


def _require_bounded(structure: JpegStructure) -> None:
    if structure.segments > MAX_SEGMENTS:
        raise _too_complex(f"more than {MAX_SEGMENTS:,} segments")
    if structure.scans > MAX_SCANS:
        raise _too_complex(f"more than {MAX_SCANS} scans")


def _too_complex(what: str) -> ImageError:
    return ImageError("too_complex", f"a JPEG with {what}; save it again, without 'progressive'")


def _unsupported(what: str) -> ImageError:
    return ImageError(
        "unsupported_format",
        f"this is {what}, not a JPEG of the common 8-bit kind; convert to JPEG/PNG",
    )
