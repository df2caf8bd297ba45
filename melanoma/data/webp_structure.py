"""The chunks of a WEBP, counted without decoding."""

from __future__ import annotations

from melanoma.errors import ImageError

MAX_CHUNKS = 1_000


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
