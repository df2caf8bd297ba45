"""Damaged files: refused as what they are, and never scored in silence."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from image_bytes import (
    encoded,
    palette_png_without_palette,
    png_chunk,
    png_of,
)
from PIL import Image, ImageFile

from melanoma.data.images import decode_image
from melanoma.data.phantoms.drawing import draw_phantom
from melanoma.errors import ImageError


def refusal(data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        decode_image(data)
    return caught.value.code


@pytest.fixture(scope="module")
def photograph() -> Image.Image:
    """160 x 240 phantom: large enough for its coded data to be most of the file."""
    drawn = draw_phantom(melanoma=True, rng=np.random.default_rng(5), size=240)
    return Image.fromarray(drawn[:160])


def test_a_palette_png_without_its_palette_is_a_damaged_image() -> None:
    assert refusal(palette_png_without_palette()) == "corrupt_image"


@pytest.mark.parametrize("error", [AssertionError, KeyError, RecursionError, ZeroDivisionError])
def test_whatever_a_decoder_raises_is_that_files_damage(
    photograph: Image.Image, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    data = encoded(photograph, "PNG")
    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
    assert refusal(data) == "corrupt_image"


def test_memory_that_is_short_is_no_damage(
    photograph: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    data = encoded(photograph, "PNG")
    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
    with pytest.raises(MemoryError):
        decode_image(data)


# PNG and WEBP.


def test_a_png_whose_pixels_have_another_checksum_is_refused(photograph: Image.Image) -> None:
    data = bytearray(encoded(photograph, "PNG"))
    end = data.index(b"IEND") - 8
    data[end] ^= 1
    Image.open(io.BytesIO(bytes(data))).load()
    assert refusal(bytes(data)) == "corrupt_image"


PNGS: dict[str, tuple[str, dict[str, Any]]] = {
    "rgb": ("RGB", {}),
    "grey": ("L", {}),
    "black and white": ("1", {}),
    "palette": ("P", {}),
    "16 colors": ("P", {"bits": 4}),
    "alpha": ("RGBA", {}),
    "grey and alpha": ("LA", {}),
    "16 bit": ("I;16", {}),
    "stored": ("RGB", {"compress_level": 0}),
}


@pytest.mark.parametrize("kind", PNGS)
def test_whole_pngs_are_read_at_any_size(kind: str, photograph: Image.Image) -> None:
    mode, options = PNGS[kind]
    for size in ((16, 16), (17, 23), (31, 16), (33, 40)):
        image = photograph.resize(size).convert("L" if mode == "I;16" else mode)
        decode_image(encoded(image.convert(mode), "PNG", **options))


@pytest.mark.parametrize("size", [(16, 16), (17, 21), (23, 18), (64, 33)])
def test_an_interlaced_png_is_read_and_its_missing_pixels_found(size: tuple[int, int]) -> None:
    width, height = size
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)
    steps = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2))
    rows = b""
    for left, top, across, down in (*steps, (0, 1, 1, 2)):
        for row in pixels[top::down, left::across]:
            rows += b"\0" + row.tobytes()
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 1)
    assert np.array_equal(
        decode_image(png_of(header, png_chunk(b"IDAT", zlib.compress(rows)))).pixels, pixels
    )
    assert refusal(png_of(header, png_chunk(b"IDAT", zlib.compress(rows[:-1])))) == "corrupt_image"


@pytest.mark.parametrize("kept", [0.25, 0.9])
def test_a_png_that_was_cut_and_closed_is_refused(kept: float, photograph: Image.Image) -> None:
    data = encoded(photograph, "PNG")
    start = data.index(b"IDAT") + 4
    size = struct.unpack(">I", data[start - 8 : start - 4])[0]
    coded = data[start : start + int(size * kept)]
    closed = data[: start - 8] + png_chunk(b"IDAT", coded) + png_chunk(b"IEND", b"")
    assert refusal(closed) == "corrupt_image"
    rows = zlib.decompress(data[start : start + size])
    short = png_chunk(b"IDAT", zlib.compress(rows[: int(len(rows) * kept)]))
    closed = data[: start - 8] + short + png_chunk(b"IEND", b"")
    assert refusal(closed) == "corrupt_image"


@pytest.mark.parametrize("lossless", [False, True])
def test_a_webp_that_was_cut_and_closed_is_refused(lossless: bool, photograph: Image.Image) -> None:
    coded = encoded(photograph, "WEBP", lossless=lossless)[20:]
    for kept in (0.25, 0.5, 0.9):
        part = coded[: int(len(coded) * kept) // 2 * 2]
        kind = b"VP8L" if lossless else b"VP8 "
        body = b"WEBP" + kind + struct.pack("<I", len(part)) + part
        assert refusal(b"RIFF" + struct.pack("<I", len(body)) + body) == "corrupt_image"


@pytest.mark.parametrize("options", [{"quality": 80}, {"quality": 30, "method": 0}])
def test_a_lossy_webp_with_wrong_bytes_in_its_middle_is_refused(
    options: dict[str, Any], photograph: Image.Image
) -> None:
    data = encoded(photograph, "WEBP", **options)
    decode_image(data)
    rng, passed = np.random.default_rng(0), 0
    for _ in range(8):
        spoiled = bytearray(data)
        for place in rng.integers(100, len(data) - 60, 20):
            spoiled[place] = rng.integers(255)
        try:
            decode_image(bytes(spoiled))
            passed += 1
        except ImageError as error:
            assert error.code == "corrupt_image"
    assert passed <= 2


@pytest.mark.parametrize("options", [{"lossless": True}, {"quality": 80}])
def test_sound_webps_of_every_container_are_taken(
    options: dict[str, Any], photograph: Image.Image
) -> None:
    clear = photograph.copy()
    clear.putalpha(200)
    decode_image(encoded(clear, "WEBP", **options))
    decode_image(encoded(photograph, "WEBP", exif=b"Exif\0\0" + bytes(41), **options))
    frames = io.BytesIO()
    photograph.save(
        frames, "WEBP", save_all=True, append_images=[photograph.rotate(180)], **options
    )
    assert "multi_frame" in decode_image(frames.getvalue()).warnings
    decode_image(encoded(Image.new("RGB", (300, 300), (90, 60, 50)), "WEBP", **options))
