"""Colors that a file states without a profile: a PNG's gAMA and cHRM, a camera's Adobe RGB."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from image_bytes import encoded, with_chunk
from PIL import Image
from scenes import ADOBE, Pixels, linear, written_in

from melanoma.data.images import decode_image
from melanoma.data.phantoms.drawing import draw_phantom


@pytest.fixture(scope="module")
def scene() -> Pixels:
    return draw_phantom(melanoma=True, rng=np.random.default_rng(5), size=64)[:48]


def hundred_thousandths(*values: float) -> bytes:
    return b"".join(struct.pack(">I", round(value * 100_000)) for value in values)


D65 = (0.3127, 0.3290)
ADOBE_POINTS = hundred_thousandths(*D65, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
SRGB_POINTS = hundred_thousandths(*D65, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)


def test_a_png_s_gamma_and_primaries_are_heeded(scene: Pixels) -> None:
    light = (linear(scene) * 255).round().astype(np.uint8)
    grey = (linear(scene[..., 1]) * 65535).round().astype(np.uint16)
    gamma = (b"gAMA", hundred_thousandths(1.0))
    for stored, wanted in ((light, scene), (grey, scene[..., 1:2])):
        found = decode_image(with_chunk(encoded(stored, "PNG"), *gamma))
        assert abs(found.pixels.astype(int) - wanted).mean() < 2
    stored = written_in(scene, ADOBE, 2.2)
    png = with_chunk(encoded(stored, "PNG"), b"gAMA", hundred_thousandths(1 / 2.2))
    found = decode_image(with_chunk(png, b"cHRM", ADOBE_POINTS))
    assert found.warnings == ()
    assert abs(found.pixels.astype(int) - scene).mean() < 1
    assert abs(stored.astype(int) - scene).mean() > 2


def test_what_says_srgb_is_left_bit_for_bit(scene: Pixels) -> None:
    png = encoded(scene, "PNG")
    usual = with_chunk(png, b"gAMA", hundred_thousandths(0.45455))
    whole = with_chunk(usual, b"cHRM", SRGB_POINTS)
    stronger = with_chunk(with_chunk(png, b"gAMA", hundred_thousandths(1.0)), b"sRGB", b"\0")
    for data in (usual, whole, stronger):
        found = decode_image(data)
        assert np.array_equal(found.pixels, scene)
        assert found.warnings == ()


@pytest.mark.parametrize(
    ("kind", "content"),
    [(b"gAMA", hundred_thousandths(0)), (b"gAMA", b"\xff" * 4), (b"cHRM", bytes(32))],
)
def test_colors_that_cannot_be_meant_are_ignored_with_a_warning(
    kind: bytes, content: bytes, scene: Pixels
) -> None:
    found = decode_image(with_chunk(encoded(scene, "PNG"), kind, content))
    assert found.warnings == ("ignored_color_profile",)
    assert np.array_equal(found.pixels, scene)


@pytest.mark.parametrize(
    ("space", "index", "wide"), [(65535, "R03", True), (1, "R98", False), (65535, "", False)]
)
def test_a_camera_s_adobe_rgb_needs_no_profile(
    space: int, index: str, wide: bool, scene: Pixels
) -> None:
    """Cameras say it in EXIF's interoperability (DCF 2.0), and embed no profile."""
    exif = Image.Exif()
    exif.get_ifd(0x8769).update({0xA001: space, 0xA005: {1: index}})
    stored = written_in(scene, ADOBE, 2.2)
    data = encoded(stored, "WEBP", lossless=True, exif=exif.tobytes())
    found = decode_image(data).pixels.astype(int)
    assert abs(found - (scene if wide else stored)).mean() < 1
