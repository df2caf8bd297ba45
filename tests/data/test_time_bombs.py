"""Small files that would take minutes to decode are refused by their structure, undecoded."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from image_bytes import (
    encoded,
    jpeg_frame,
    jpeg_of,
    jpeg_scan,
    jpeg_segment,
    png_chunk,
    png_of,
    with_segment,
)
from PIL import Image, ImageFile, ImageOps

from melanoma.data import jpeg_structure, webp_structure
from melanoma.data.images import MAX_BYTES, count_pixels, decode_image
from melanoma.data.jpeg_structure import MAX_SCANS, MAX_SEGMENTS, MAX_STRAY, read_jpeg
from melanoma.data.phantoms.drawing import draw_phantom
from melanoma.errors import ImageError

PROGRESSIVE = 0xC2
HEADER = struct.pack(">IIBBBBB", 40, 40, 8, 2, 0, 0, 0)
EMPTY_APP = jpeg_segment(0xE5)


@pytest.fixture(scope="module")
def photograph() -> Image.Image:
    return Image.fromarray(draw_phantom(melanoma=True, rng=np.random.default_rng(5), size=64))


def png(photograph: Image.Image, *before_pixels: bytes, times: int = 1) -> bytes:
    """The photograph as a PNG, with chunks before its pixels."""
    plain = encoded(photograph, "PNG")
    at = plain.index(b"IDAT") - 4
    return plain[:at] + b"".join(before_pixels) * times + plain[at:]


def scans(number: int, *, side: int = 64) -> bytes:
    """A progressive JPEG of so many scans, all but the first without a bit of news."""
    first = jpeg_scan(1, 63, high=0, low=1)
    empty = jpeg_scan(1, 63, high=1, low=0) * (number - 1)
    return jpeg_of(jpeg_frame(PROGRESSIVE, width=side, height=side), first, empty)


def webp(photograph: Image.Image, chunks: int) -> bytes:
    body = encoded(photograph, "WEBP")[12:] + (b"JUNK" + struct.pack("<I", 2) + b"xx") * chunks
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


BOMBS: dict[str, Callable[[Image.Image], bytes]] = {
    "scans": lambda _: scans(MAX_SCANS + 1),
    "scans of many pixels": lambda _: scans(30, side=7_000),
    "segments": lambda photo: with_segment(encoded(photo, "JPEG"), EMPTY_APP * 2_000_000),
    "segments at the end": lambda photo: (
        encoded(photo, "JPEG")[:-2] + EMPTY_APP * 2_000_000 + encoded(photo, "JPEG")[-2:]
    ),
    "fill bytes": lambda photo: with_segment(encoded(photo, "JPEG"), b"\xff" * 9_000_000),
    "coded FF": lambda photo: with_segment(encoded(photo, "JPEG"), b"\xff\x00" * 4_000_000),
    "stray bytes": lambda photo: (
        encoded(photo, "JPEG")[:20] + bytes(MAX_STRAY + 1) + encoded(photo, "JPEG")[20:]
    ),
    "png chunks": lambda photo: png(photo, png_chunk(b"tEXt", b"a\0b"), times=500_000),
    "png data chunks": lambda _: png_of(HEADER, png_chunk(b"IDAT", b"") * 500_000),
    "webp chunks": lambda photo: webp(photo, 900_000),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_is_refused_by_its_structure(
    kind: str, photograph: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("opened before its structure was read")

    data = BOMBS[kind](photograph)
    assert len(data) < MAX_BYTES
    if kind != "scans of many pixels":  # their size is what refuses them first
        monkeypatch.setattr(Image, "open", never)
    monkeypatch.setattr(ImageFile.ImageFile, "load", never)
    for way_in in (count_pixels, decode_image):
        with pytest.raises(ImageError) as caught:
            way_in(data)
        assert caught.value.code == "too_complex"


def test_what_photographs_have_stays_far_below_the_limits(photograph: Image.Image) -> None:
    large = photograph.resize((1_000, 800))
    for mode in ("RGB", "L", "CMYK"):
        found = read_jpeg(encoded(large.convert(mode), "JPEG", progressive=True, subsampling=0))
        assert 4 * found.scans <= MAX_SCANS
        assert 20 * found.segments <= MAX_SEGMENTS
        # As many pixels as are allowed at all, coded in the usual way.
        assert found.blocks * 50_000_000 / 800_000 < jpeg_structure.MAX_BLOCKS


def test_restart_markers_and_fill_bytes_are_no_segments(photograph: Image.Image) -> None:
    plain = encoded(photograph, "JPEG", quality=95)
    restarts = encoded(photograph, "JPEG", quality=95, restart_marker_blocks=1)
    assert restarts.count(b"\xff\xd0") > 1
    filled = plain[:2] + b"\xff" * 50 + plain[2:-2] + b"\xff" * 500 + plain[-2:]
    assert read_jpeg(restarts).segments <= read_jpeg(plain).segments + 1  # DRI
    assert read_jpeg(filled).segments == read_jpeg(plain).segments
    expected = decode_image(plain).pixels
    for other in (restarts, filled):
        assert np.array_equal(decode_image(other).pixels, expected)


@pytest.mark.parametrize("count", [900, webp_structure.MAX_CHUNKS - 2])
def test_a_webp_with_many_chunks_below_the_limit_is_read(
    count: int, photograph: Image.Image
) -> None:
    assert decode_image(webp(photograph, count)).pixels.shape == (64, 64, 3)


def large_chunks() -> dict[str, bytes]:
    dull = bytes(30_000_000)
    long = np.random.default_rng(0).integers(1, 255, 1_500_000).astype(np.uint8).tobytes()
    return {
        "a long tEXt": png_chunk(b"tEXt", b"note\0" + long),
        "a zTXt bomb": png_chunk(b"zTXt", b"note\0\0" + zlib.compress(dull)),
        "many zTXt bombs": png_chunk(b"zTXt", b"note\0\0" + zlib.compress(dull[:1_000_000])) * 900,
        "an iTXt bomb": png_chunk(b"iTXt", b"note\0\1\0\0\0" + zlib.compress(dull)),
        "an unknown chunk": png_chunk(b"juNk", long),
    }


@pytest.mark.parametrize("kind", large_chunks())
def test_large_metadata_of_a_png_is_no_damage(kind: str, photograph: Image.Image) -> None:
    found = decode_image(png(photograph, large_chunks()[kind]))
    assert np.array_equal(found.pixels, np.asarray(photograph))
    assert found.warnings == ()


def test_an_orientation_among_a_pngs_large_chunks_is_kept(photograph: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    plain = encoded(photograph, "PNG", exif=exif)
    at = plain.index(b"IDAT") - 4
    data = plain[:at] + large_chunks()["a zTXt bomb"] + plain[at:]
    turned = ImageOps.exif_transpose(Image.open(io.BytesIO(plain)))
    assert np.array_equal(decode_image(data).pixels, np.asarray(turned))
