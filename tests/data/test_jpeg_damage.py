"""JPEGs whose coded data is not whole: refused, and no whole one is."""

from __future__ import annotations

import io
import random
import struct
from typing import Any

import numpy as np
import pytest
from image_bytes import (
    encoded,
    jpeg_scan,
    jpeg_segment,
    with_segment,
)
from PIL import Image

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
