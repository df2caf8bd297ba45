"""A PNG's chunks, read without decoding: what they claim and what Pillow must not see."""

from __future__ import annotations

import struct
import zlib
from itertools import product

import numpy as np
import pytest
from image_bytes import PNG_START, encoded, png_chunk, png_of
from PIL import Image

from melanoma.data import png_structure
from melanoma.data.png_structure import (
    MAX_CHUNKS,
    MAX_DATA_CHUNKS,
    MAX_INFLATED,
    MAX_TEXT,
    read_png,
    require_sound,
    without_excess,
)
from melanoma.errors import ImageError

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
PASSES = ("0088", "4088", "0448", "2044", "0224", "1022", "0112")  # left, top, across, down


def header(width: int, height: int, bits: int = 8, color: int = 0, *, laced: bool = False) -> bytes:
    return struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, int(laced))


def png(*chunks: bytes, rows: bytes | None = None) -> bytes:
    """4 x 3 grey pixels, or other rows; `chunks` stand before them."""
    coded = zlib.compress(b"\0abcd" * 3 if rows is None else rows)
    return png_of(header(4, 3), *chunks, png_chunk(b"IDAT", coded))


def text(kind: bytes, size: int) -> bytes:
    """A text chunk that takes so many bytes when it is read."""
    if kind == b"tEXt":
        return png_chunk(kind, b"note\0".ljust(size, b"x"))
    head = {b"zTXt": b"note\0\0", b"iTXt": b"note\0\1\0de\0Notiz\0"}[kind]
    packed = zlib.compress(bytes(size))
    for _ in range(5):  # the packed bytes count as well
        packed = zlib.compress(bytes(size - len(head) - len(packed)))
    return png_chunk(kind, head + packed)


def refusal(data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        require_sound(data, read_png(data))
    assert caught.value.code == "corrupt_image"
    return str(caught.value)


def test_chunks_are_found_where_they_stand_up_to_the_end() -> None:
    data = png(png_chunk(b"tEXt", b"note\0here"))
    found = read_png(data + png_chunk(b"tEXt", b"after\0all"))
    assert [chunk.kind for chunk in found.chunks] == [b"IHDR", b"tEXt", b"IDAT", b"IEND"]
    for chunk in found.chunks:
        content = data[chunk.content : chunk.end]
        assert data[chunk.start : chunk.end + 4] == png_chunk(chunk.kind, content)
    whole = found.chunks[1]
    cut = read_png(data[: whole.end - 2])
    assert cut.chunks[1].end == whole.end - 2, "a chunk ends where the bytes do"
    assert read_png(data[: whole.start + 7]).chunks == found.chunks[:1]


def test_the_header_s_depth_and_palette_and_the_first_significant_bits_are_read() -> None:
    significant = png_chunk(b"sBIT", bytes([12, 9, 9]))
    found = read_png(png_of(header(5, 5, 16, 2), significant))
    assert (found.depth, found.needs_palette, found.significant) == (16, False, 12)
    palette = read_png(png_of(header(5, 5, 4, 3), png_chunk(b"sBIT", b"")))
    assert (palette.depth, palette.needs_palette, palette.significant) == (4, True, 0)
    short = read_png(PNG_START + png_chunk(b"IHDR", header(5, 5, 4, 3)[:12]))
    assert (short.depth, short.needs_palette, short.inflated) == (0, False, 0)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "I;16"])
def test_pixels_inflate_to_as_many_bytes_as_the_encoder_wrote(mode: str) -> None:
    grey = np.arange(13 * 7, dtype=np.uint16 if mode == "I;16" else np.uint8).reshape(7, 13)
    image = Image.fromarray(grey)
    data = encoded(image if mode == "I;16" else image.convert(mode), "PNG")
    found = read_png(data)
    coded = b"".join(data[c.content : c.end] for c in found.chunks if c.kind == b"IDAT")
    assert found.inflated == len(zlib.decompress(coded))


@pytest.mark.parametrize("color", CHANNELS)
def test_an_interlaced_image_has_the_rows_of_its_seven_passes(color: int) -> None:
    for width, height, bits in product((1, 2, 3, 4, 5, 9), (1, 2, 5, 8, 17), (1, 8, 16)):
        expected = 0
        for left, top, across, down in (map(int, name) for name in PASSES):
            columns = len(range(left, width, across))
            rows = len(range(top, height, down)) if columns else 0
            expected += sum(1 + -(-columns * bits * CHANNELS[color] // 8) for _ in range(rows))
        found = read_png(png_of(header(width, height, bits, color, laced=True)))
        assert found.inflated == expected, (width, height, bits)


@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt", b"iTXt"])
def test_text_is_cut_out_where_it_takes_more_than_pillow_would_read(kind: bytes) -> None:
    small, large = text(kind, MAX_INFLATED), text(kind, MAX_INFLATED + 9)
    assert read_png(png(small)).excess == ()
    data = png(small, large)
    found = read_png(data)
    assert [data[c.start : c.end + 4] for c in found.excess] == [large]
    assert without_excess(data, found) == png(small)


def test_all_text_together_has_a_limit() -> None:
    one = text(b"zTXt", 1 << 20 - 1)
    number = MAX_TEXT // (1 << 20 - 1)
    data = png(*[one] * (number + 3))
    assert read_png(png(*[one] * (number - 1))).excess == ()
    assert 3 <= len(read_png(data).excess) <= 4
    assert without_excess(data, read_png(data)).count(b"zTXt") <= number


def test_text_that_inflates_is_inflated_only_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    inflated: list[int] = []
    inflate = png_structure._inflate

    def watched(packed: bytes, limit: int) -> bytes | None:
        found = inflate(packed, limit)
        inflated.append(len(found or b""))
        return found

    monkeypatch.setattr(png_structure, "_inflate", watched)
    bomb = png_chunk(b"zTXt", b"note\0\0" + zlib.compress(bytes(30_000_000)))
    near = png_chunk(b"zTXt", b"note\0\0" + zlib.compress(bytes(1_000_000)))
    read_png(png(bomb, *[near] * 900))
    assert max(inflated) <= MAX_INFLATED + 1
    assert sum(inflated) <= MAX_TEXT + MAX_INFLATED


def test_text_that_is_no_text_is_left_to_pillow_which_passes_over_it() -> None:
    plain = png_chunk(b"iTXt", b"note\0\0\0de\0Notiz\0" + b"x" * 100)
    odd = [png_chunk(b"zTXt", b"note\0\0no zlib"), png_chunk(b"iTXt", b"note"), plain]
    data = png(*odd)
    assert read_png(data).excess == ()
    assert without_excess(data, read_png(data)) is data, "the very same bytes"


@pytest.mark.parametrize(
    ("content", "bad"),
    [
        (b"name\0\0" + zlib.compress(bytes(3000)), False),
        (b"name\0\0" + zlib.compress(bytes(MAX_INFLATED)), False),
        (b"name\0\0" + zlib.compress(bytes(MAX_INFLATED + 1)), True),
        (b"name\0\0" + zlib.compress(b""), True),
        (b"name\0\0no zlib", True),
        (b"name\0\1" + zlib.compress(bytes(3000)), True),  # another compression
        (b"name", True),
    ],
    ids=["sound", "largest", "too large", "empty", "no zlib", "unknown", "cut"],
)
def test_a_color_profile_that_cannot_be_read_is_cut_out_and_said_to_be(
    content: bytes, bad: bool
) -> None:
    data = png(png_chunk(b"iCCP", content))
    found = read_png(data)
    assert found.bad_profile == bad
    assert without_excess(data, found) == (png() if bad else data)


def test_many_chunks_are_too_complex_and_as_many_as_are_allowed_are_not() -> None:
    extra, empty = png_chunk(b"juNk", b""), png_chunk(b"IDAT", b"")
    allowed = MAX_CHUNKS - 2  # and IHDR and IEND
    assert len(read_png(png(*[extra] * allowed)).chunks) == MAX_CHUNKS + 1
    assert len(read_png(png_of(header(4, 3), *[empty] * (MAX_DATA_CHUNKS - 2))).chunks) > 19_000
    for many in (png(*[extra] * (allowed + 1)), png_of(header(4, 3), *[empty] * MAX_DATA_CHUNKS)):
        with pytest.raises(ImageError) as caught:
            read_png(many)
        assert caught.value.code == "too_complex"


def test_pixels_in_several_chunks_are_sound_and_what_follows_them_is_no_matter() -> None:
    coded = zlib.compress(b"\0abcd" * 3 + b"more")
    data = png_of(header(4, 3), *[png_chunk(b"IDAT", coded[n : n + 5]) for n in range(0, 20, 5)])
    require_sound(data, read_png(data))


def test_pixels_are_inflated_no_further_than_the_header_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(png_structure, "_PIECE", 64)
    packer = zlib.compressobj()
    rows = packer.compress(bytes(64 * 21)) + packer.flush(zlib.Z_FULL_FLUSH)
    data = png_of(header(63, 20), png_chunk(b"IDAT", rows + b"\xff" * 20_000))
    require_sound(data, read_png(data))
    assert "no zlib stream" in refusal(png_of(header(63, 22), png_chunk(b"IDAT", rows + b"\xff")))


def test_pixels_that_are_missing_or_changed_are_damage() -> None:
    assert "pixels are missing" in refusal(png(rows=b"\0abcd" * 2 + b"\0abc"))
    assert "pixels are missing" in refusal(png_of(header(4, 3)))
    assert "no zlib stream" in refusal(png_of(header(4, 3), png_chunk(b"IDAT", b"no zlib")))
    data = bytearray(png())
    data[data.index(b"IDAT") + 4] ^= 1
    assert "checksum differs" in refusal(bytes(data))
    whole = png()
    end = whole.index(b"IEND") - 4
    assert "checksum differs" in refusal(whole[: end - 1]), "cut within the checksum"
    # Of other chunks it does not matter.
    note = bytearray(png(png_chunk(b"tEXt", b"note\0here")))
    note[note.index(b"here")] ^= 1
    require_sound(bytes(note), read_png(bytes(note)))


def test_a_palette_must_be_there_where_the_pixels_need_one() -> None:
    pixels = png_chunk(b"IDAT", zlib.compress(b"\0abcd" * 3))
    assert "palette is missing" in refusal(png_of(header(4, 3, 8, 3), pixels))
    data = png_of(header(4, 3, 8, 3), png_chunk(b"PLTE", bytes(9)), pixels)
    require_sound(data, read_png(data))
