"""Damaged files: refused as what they are, and never scored in silence."""

from __future__ import annotations

import numpy as np
import pytest
from image_bytes import encoded, palette_png_without_palette
from PIL import Image, ImageFile

from melanoma.data.images import decode_image
from melanoma.data.phantom_images import draw_phantom
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
