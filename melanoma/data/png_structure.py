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
    them. `depth` is IHDR's, `significant` the first entry of sBIT, or 0 where there is none.
    """

    chunks: tuple[Chunk, ...]
    excess: tuple[Chunk, ...]
    bad_profile: bool
    depth: int
    significant: int


def read_png(data: bytes) -> PngStructure:
    """The chunks up to IEND, or to where the bytes end. Raises ImageError (`too_complex`)."""
    chunks = _find_chunks(data)
    excess: list[Chunk] = []
    text = 0
    bad_profile = False
    depth = significant = 0
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
        elif chunk.kind == b"sBIT" and chunk.end > chunk.content:
            significant = data[chunk.content]
    return PngStructure(tuple(chunks), tuple(excess), bad_profile, depth, significant)


def without_excess(data: bytes, structure: PngStructure) -> bytes:
    """The file without the chunks that Pillow must not see; the very same bytes in most cases."""
    at, kept = 0, []
    for chunk in structure.excess:
        kept.append(data[at : chunk.start])
        at = chunk.end + 4
    return b"".join([*kept, data[at:]]) if kept else data


def require_sound(data: bytes, structure: PngStructure) -> None:
    """Raise ImageError where a data chunk's checksum differs, which Pillow does not look at."""
    view = memoryview(data)
    for chunk in structure.chunks:
        if chunk.kind == b"IDAT":
            stated = data[chunk.end : chunk.end + 4]
            found = zlib.crc32(view[chunk.start + 4 : chunk.end])
            if int.from_bytes(stated, "big") != found or len(stated) < 4:
                raise ImageError(
                    "corrupt_image", "the image is damaged: its pixels' checksum differs"
                )


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
