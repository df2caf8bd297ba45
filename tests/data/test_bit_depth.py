"""Pictures of 10 or 12 bits in files of 16: scaled where the file states it, else warned of."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
import pytest
from image_bytes import encoded, png_chunk, with_chunk
from scenes import Pixels

from melanoma.data.images import decode_image
from melanoma.data.phantoms.drawing import draw_phantom


@pytest.fixture(scope="module")
def scene() -> Pixels:
    return draw_phantom(melanoma=True, rng=np.random.default_rng(5), size=64)[:48]


def deep(values: Any, significant: int | None = None) -> bytes:
    data = encoded(values.astype(np.uint16), "PNG")
    return with_chunk(data, b"sBIT", bytes([significant])) if significant else data


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_grey_of_fewer_bits_is_scaled_as_the_file_states(bits: int, scene: Pixels) -> None:
    grey = scene[..., 0].astype(np.uint16)
    raw = (grey << (bits - 8)) + 1
    found = decode_image(deep(raw, bits))
    assert found.warnings == ()
    assert np.array_equal(found.pixels[..., 0], grey)
    # Scaled by the writer, as PNG wants it: sBIT changes nothing.
    for scaled in (raw << (16 - bits), grey * 257):
        assert np.array_equal(decode_image(deep(scaled, bits)).pixels[..., 0], grey)


def test_a_dark_picture_that_was_scaled_stays_dark(scene: Pixels) -> None:
    grey = (scene[..., 0] // 20).astype(np.uint16)
    found = decode_image(deep(grey << 8, 12))
    assert np.array_equal(found.pixels[..., 0], grey)


def test_a_depth_that_nothing_states_is_warned_of_and_not_guessed(scene: Pixels) -> None:
    raw = scene[..., 0].astype(np.uint16) << 4
    found = decode_image(deep(raw))
    assert "unstated_bit_depth" in found.warnings
    assert np.array_equal(found.pixels[..., 0], raw >> 8)
    assert decode_image(deep(scene[..., 0].astype(np.uint16) << 8)).warnings == ()


def test_a_colored_picture_of_twelve_bits_is_warned_of(scene: Pixels) -> None:
    height, width = scene.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    for shift, warned in ((4, True), (8, False)):
        rows = b"".join(
            b"\0" + (row.astype(">u2") << shift).astype(">u2").tobytes() for row in scene
        )
        body = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(rows))
        found = decode_image(b"\x89PNG\r\n\x1a\n" + body + png_chunk(b"IEND", b""))
        assert ("unstated_bit_depth" in found.warnings) is warned
