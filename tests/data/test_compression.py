"""A photograph that was compressed too strongly is told by its blocks, whatever file it is in."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from melanoma.data.compression import STRONG, is_strongly_compressed
from melanoma.data.images import Pixels, decode_image


def saved(pixels: Pixels, kind: str = "JPEG", **options: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


@pytest.fixture(scope="module")
def lesion() -> Pixels:
    """As smooth as a photograph that was made small."""
    down, right = (np.mgrid[:144, :144] + 0.5) / 144 - 0.5
    spot = np.exp(-((down + 0.04) ** 2 + (right - 0.02) ** 2) / 0.05)
    gray = 190 + 50 * right - 30 * down - 110 * spot * (1 + 0.3 * np.sin(40 * right + 25 * down))
    return np.clip(gray[..., None] * [1.0, 0.8, 0.7], 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("quality", "strong"), [(95, False), (60, False), (10, True), (5, True)])
def test_low_qualities_are_told_and_usual_ones_are_not(
    lesion: Pixels, quality: int, strong: bool
) -> None:
    found = decode_image(saved(lesion, quality=quality))
    assert (STRONG in found.warnings) == strong


def test_a_png_does_not_hide_it_and_neither_does_a_cut(lesion: Pixels) -> None:
    pixels = decode_image(saved(lesion, quality=8)).pixels
    assert decode_image(saved(pixels, "PNG")).warnings == (STRONG,)
    assert is_strongly_compressed(pixels[3:-2, 5:])


def test_noise_a_doubled_picture_and_a_large_or_tiny_one_have_no_blocks(lesion: Pixels) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    blocky = decode_image(saved(lesion, quality=5)).pixels
    large = np.tile(blocky, (8, 8, 1))
    assert min(large.shape[:2]) >= 1024
    for pixels in (noise, lesion.repeat(2, axis=0).repeat(2, axis=1), large, blocky[:40]):
        assert not is_strongly_compressed(pixels)
