"""The chunks of a PNG, read without decoding: how many, what they claim, whether they are sound.

Large text and colour chunks are no damage, but Pillow takes them for it: they are cut out before
it sees them. What they inflate to is bounded by bytes, and all chunks by their number.
"""

from __future__ import annotations

import zlib
from typing import NamedTuple

from melanoma.errors import ImageError

START = b"\x89PNG\r\n\x1a\n"
MAX_CHUNKS = 1_000
# Encoders write 8 kB a chunk; a tenth of that at the limit of a file's bytes.
MAX_DATA_CHUNKS = 20_000
# Pillow takes a chunk that inflates to more than this as a damaged file.
MAX_INFLATED = (1 << 20) - 1
MAX_TEXT = 8 << 20  # of all text chunks together; inflating it takes a few hundredths of a second
_DATA = (b"IDAT", b"fdAT")
# Where a pass of an interlaced image begins, and its steps: left, top, across, down.
_ADAM7 = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
_PALETTE = 3  # the color type
_SLICE, _PIECE = 1 << 16, 1 << 20
_TEXT = (b"tEXt", b"zTXt", b"iTXt")


class Chunk(NamedTuple):
    """Where a chunk's length stands, its kind, and where its content starts and ends."""

    start: int
    kind: bytes
    content: int
    end: int


class PngStructure(NamedTuple):
    """What a PNG's chunks say.

    `excess` are chunks that Pillow must not see; `bad_profile` says that a colour profile is among
    them. `depth` is IHDR's, `inflated` the bytes that the pixels must inflate to, and `significant`
    the first entry of sBIT, or 0 where there is none.
    """

    chunks: tuple[Chunk, ...]
    excess: tuple[Chunk, ...]
    bad_profile: bool
    depth: int
    needs_palette: bool
    inflated: int
    significant: int


def read_png(data: bytes) -> PngStructure:
    """The chunks up to IEND, or to where the bytes end. Raises ImageError (`too_complex`)."""
    chunks = _find_chunks(data)
    excess: list[Chunk] = []
    text = 0
    bad_profile = needs_palette = False
    depth = inflated = significant = 0
    for chunk in chunks:
        if chunk.kind in _TEXT:
            room = min(MAX_INFLATED, MAX_TEXT - text)
            size = _text_size(data, chunk, room) if room > 0 else None
            text += MAX_INFLATED if size is None else size
            if size is None:
                excess.append(chunk)
        elif chunk.kind == b"iCCP" and not _has_profile(data, chunk):
            bad_profile = True
            excess.append(chunk)
        elif chunk.kind == b"IHDR" and chunk.end - chunk.content >= 13:
            depth = data[chunk.content + 8]
            needs_palette = data[chunk.content + 9] == _PALETTE
            inflated = _inflated_size(data[chunk.content : chunk.end])
        elif chunk.kind == b"sBIT" and chunk.end > chunk.content:
            significant = data[chunk.content]
    return PngStructure(
        tuple(chunks), tuple(excess), bad_profile, depth, needs_palette, inflated, significant
    )


def without_excess(data: bytes, structure: PngStructure) -> bytes:
    """The file without the chunks that Pillow must not see; the very same bytes in most cases."""
    at, pieces = 0, []
    for chunk in structure.excess:
        pieces.append(data[at : chunk.start])
        at = chunk.end + 4
    return b"".join([*pieces, data[at:]]) if pieces else data


def require_sound(data: bytes, structure: PngStructure) -> None:
    """Raise ImageError where pixels are missing or their checksums differ.

    Pillow looks at neither, and leaves black what a stream that ends early has not brought.
    """
    if structure.needs_palette and all(chunk.kind != b"PLTE" for chunk in structure.chunks):
        raise ImageError("corrupt_image", "the image is damaged: its palette is missing")
    view, inflater = memoryview(data), zlib.decompressobj()
    missing = structure.inflated
    for chunk in structure.chunks:
        if chunk.kind != b"IDAT":
            continue
        stated, coded = data[chunk.end : chunk.end + 4], view[chunk.content : chunk.end]
        checksum = zlib.crc32(coded, zlib.crc32(b"IDAT"))
        if int.from_bytes(stated, "big") != checksum or len(stated) < 4:
            raise ImageError("corrupt_image", "the image is damaged: its pixels' checksum differs")
        missing -= _count_inflated(inflater, coded, missing)
    if missing > 0:
        raise ImageError("corrupt_image", "the image is damaged or cut off: pixels are missing")


def _count_inflated(inflater: zlib._Decompress, coded: memoryview, limit: int) -> int:
    """Bytes that `coded` inflates to, thrown away piece by piece; it stops at `limit`."""
    count = 0
    # In slices, because zlib copies what it has not consumed at every piece.
    for start in range(0, len(coded), _SLICE):
        rest = bytes(coded[start : start + _SLICE])
        while rest and count < limit and not inflater.eof:
            try:
                count += len(inflater.decompress(rest, _PIECE))
            except zlib.error as error:
                raise ImageError(
                    "corrupt_image", "the image is damaged: its pixels are no zlib stream"
                ) from error
            rest = inflater.unconsumed_tail
    return count


def _inflated_size(header: bytes) -> int:
    """Bytes of all rows, each with its filter's byte, as IHDR's content says."""
    width, height = (int.from_bytes(header[at : at + 4], "big") for at in (0, 4))
    bits = header[8] * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(header[9], 1)
    passes = _ADAM7 if header[12] else ((0, 0, 1, 1),)
    total = 0
    for left, top, across, down in passes:
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            total += rows * (1 + -(-columns * bits // 8))
    return total


def _find_chunks(data: bytes) -> list[Chunk]:
    chunks: list[Chunk] = []
    others, at = 0, len(START)
    while at + 8 <= len(data):
        size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        chunks.append(Chunk(at, kind, at + 8, min(at + 8 + size, len(data))))
        others += kind not in _DATA
        if others > MAX_CHUNKS or len(chunks) > MAX_DATA_CHUNKS:
            raise ImageError("too_complex", "a PNG with too many chunks; save it again")
        if kind == b"IEND":
            break
        at += 12 + size
    return chunks


def _text_size(data: bytes, chunk: Chunk, room: int) -> int | None:
    """Bytes that a text chunk takes when it is read, None where that is more than `room`."""
    content = data[chunk.content : chunk.end]
    size = len(content)
    packed = b""
    if chunk.kind == b"zTXt":
        packed = content.partition(b"\0")[2][1:]
    elif chunk.kind == b"iTXt":
        compressed = content.partition(b"\0")[2]
        if compressed[:1] == b"\1":
            packed = compressed[2:].partition(b"\0")[2].partition(b"\0")[2]
    if packed:
        inflated = _inflate(packed, room)
        # Text that is no text is passed over by Pillow.
        size += 0 if inflated is None else len(inflated)
    return size if size <= room else None


def _has_profile(data: bytes, chunk: Chunk) -> bool:
    rest = data[chunk.content : chunk.end].partition(b"\0")[2]
    profile = _inflate(rest[1:], MAX_INFLATED) if rest[:1] == b"\0" else None
    return profile is not None and 0 < len(profile) <= MAX_INFLATED


def _inflate(packed: bytes, limit: int) -> bytes | None:
    """What `packed` inflates to, at most a byte more than `limit`; None where it is no zlib."""
    try:
        return zlib.decompressobj().decompress(packed, limit + 1)
    except zlib.error:
        return None
