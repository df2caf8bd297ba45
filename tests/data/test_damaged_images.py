"""Damaged files: refused as what they are, and never scored in silence."""

from __future__ import annotations

import io
import random
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from image_bytes import (
    encoded,
    jpeg_scan,
    jpeg_segment,
    palette_png_without_palette,
    png_chunk,
    png_of,
    with_segment,
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


# JPEGs. Kinds of coding, each with the mode that is coded.
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "baseline": ("RGB", {}),
    "not subsampled": ("RGB", {"subsampling": 0}),
    "optimized": ("RGB", {"optimize": True}),
    "progressive": ("RGB", {"progressive": True}),
    "grey": ("L", {}),
    "grey, progressive": ("L", {"progressive": True}),
    "cmyk": ("CMYK", {}),
    "cmyk, progressive": ("CMYK", {"progressive": True}),
    "rgb": ("RGB", {"keep_rgb": True}),
    "restarts": ("RGB", {"restart_marker_blocks": 3}),
    "restarts, progressive": ("RGB", {"restart_marker_rows": 1, "progressive": True}),
}
EOI = b"\xff\xd9"


def jpeg(photograph: Image.Image, kind: str) -> bytes:
    mode, options = KINDS[kind]
    return encoded(photograph.convert(mode), "JPEG", quality=92, **options)


def as_pillow_reads(data: bytes) -> Any:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@pytest.mark.parametrize("kind", KINDS)
def test_whole_jpegs_give_what_pillow_decodes(kind: str, photograph: Image.Image) -> None:
    data = jpeg(photograph, kind)
    found = decode_image(data)
    assert found.warnings == ()
    assert np.array_equal(found.pixels, as_pillow_reads(data))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("percent", [25, 50, 75, 95])
def test_a_jpeg_that_was_cut_and_closed_is_refused(
    kind: str, percent: int, photograph: Image.Image
) -> None:
    data = jpeg(photograph, kind)
    closed = data[: len(data) * percent // 100] + EOI
    assert refusal(closed) == "corrupt_image"


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "progressive" in kind])
def test_a_progressive_jpeg_that_was_cut_between_two_scans_is_refused(
    kind: str, photograph: Image.Image
) -> None:
    data = jpeg(photograph, kind)
    starts = [at for at in range(len(data)) if data[at : at + 2] == b"\xff\xda"]
    assert len(starts) > 3
    for start in starts[1:]:
        assert refusal(data[:start] + EOI) == "corrupt_image"


def test_a_scan_that_comes_twice_is_refused(photograph: Image.Image) -> None:
    data = jpeg(photograph, "grey, progressive")
    again = jpeg_scan(1, 63, high=0, low=0)
    assert refusal(data[:-2] + again + EOI) == "corrupt_image"


@pytest.mark.parametrize("kind", KINDS)
def test_random_bytes_within_the_coded_data_seldom_pass(kind: str, photograph: Image.Image) -> None:
    whole, dice, refused = jpeg(photograph, kind), random.Random(kind), 0
    start = whole.index(b"\xff\xda") + 20
    for _ in range(50):
        data = bytearray(whole)
        for _ in range(20):
            data[dice.randrange(start, len(data) - 2)] = dice.randrange(256)
        try:
            decode_image(bytes(data))
        except ImageError as error:
            assert error.code in {"corrupt_image", "unsupported_format", "too_complex"}
            refused += 1
    assert refused >= 25


def test_a_small_jpeg_that_claims_to_be_large_is_refused(photograph: Image.Image) -> None:
    data = bytearray(jpeg(photograph, "baseline"))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", 7_000, 7_000)
    assert refusal(bytes(data)) == "corrupt_image"


HARMLESS = {
    "bytes after the end": lambda data: data + b"anything" * 50,
    "a second photograph after the end": lambda data: data + data,
    "padding before the end": lambda data: data[:-2] + b"\0\0\0" + EOI,
    "one byte before the end": lambda data: data[:-2] + b"\x5a" + EOI,
    "fill before a segment": lambda data: data[:20] + b"\xff" * 7 + data[20:],
    "a comment": lambda data: with_segment(data, jpeg_segment(0xFE, b"\xff\xd9\xff\xda")),
    "a revision of JFIF that is to come": lambda data: data.replace(
        b"JFIF\0\1\1", b"JFIF\0\7\1", 1
    ),
}


@pytest.mark.parametrize("kind", HARMLESS)
def test_what_harms_no_pixel_is_not_refused(kind: str, photograph: Image.Image) -> None:
    data = jpeg(photograph, "baseline")
    found = decode_image(HARMLESS[kind](data))
    assert found.warnings == ()
    assert np.array_equal(found.pixels, as_pillow_reads(data))


@pytest.mark.parametrize("padding", [bytes(60), bytes(range(1, 30))])
def test_more_than_padding_before_the_end_is_damage(
    padding: bytes, photograph: Image.Image
) -> None:
    data = jpeg(photograph, "baseline")
    assert refusal(data[:-2] + padding + EOI) == "corrupt_image"


def test_harmless_warnings_do_not_hide_damage(photograph: Image.Image) -> None:
    data = jpeg(photograph, "baseline")
    odd = HARMLESS["a revision of JFIF that is to come"](data)
    assert refusal(odd[: len(odd) // 2] + EOI) == "corrupt_image"


def test_a_sampling_that_cannot_be_verified_is_said(photograph: Image.Image) -> None:
    data = bytearray(encoded(photograph.convert("L"), "JPEG", quality=92))
    color = bytearray(jpeg(photograph, "baseline"))
    at = color.index(b"\xff\xc0") + 11
    assert color[at] == 0x22
    # 3 x 2 blocks of brightness a unit: this data makes no sense in it, which cannot be told.
    color[at] = 0x32
    assert "unverified_image" in decode_image(bytes(color)).warnings
    assert decode_image(bytes(data)).warnings == ()


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
