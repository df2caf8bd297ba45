"""WEBP, decoded beside Python's lock: the values of Pillow, and no word on the terminal."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from image_bytes import encoded
from PIL import Image, WebPImagePlugin

from melanoma.data.images import decode_image
from melanoma.data.webp_structure import decode_webp
from melanoma.errors import ImageError


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("options", [{"lossless": True}, {"quality": 20}, {"quality": 95}])
def test_a_webp_has_the_values_that_pillow_gives_it(options: dict[str, Any], alpha: bool) -> None:
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (61, 47, 4 if alpha else 3), np.uint8)
    data = encoded(pixels, "WEBP", **options)
    plain = Image.open(io.BytesIO(data))
    assert np.array_equal(decode_webp(data), np.asarray(plain))
    white = Image.new("RGBA", plain.size, "white")
    laid = Image.alpha_composite(white, plain.convert("RGBA")).convert("RGB")
    assert np.array_equal(decode_image(data).pixels, np.asarray(laid))


def test_pillow_is_not_asked_for_a_webps_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    # It keeps Python's lock while it decodes, and nobody is answered meanwhile.
    def fail(*_: object) -> None:
        raise AssertionError("Pillow decodes")

    data = encoded(np.full((64, 64, 3), 90, np.uint8), "WEBP")
    monkeypatch.setattr(WebPImagePlugin.WebPImageFile, "load", fail)
    assert decode_image(data).pixels.shape == (64, 64, 3)


def test_a_damaged_webp_says_nothing_on_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    data = encoded(np.full((64, 64, 3), 90, np.uint8), "WEBP", lossless=True)
    with pytest.raises(ImageError, match="damaged"):
        decode_image(data[:30] + bytes(len(data) - 30))
    assert capfd.readouterr() == ("", "")
