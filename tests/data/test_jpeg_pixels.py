"""A JPEG's pixels without Pillow are Pillow's, which decodes what is not of the common kind."""

from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np
import pytest
from image_bytes import encoded
from PIL import Image

from melanoma.data import images
from melanoma.data.images import decode_image
from melanoma.data.jpeg_pixels import decode_jpeg
from melanoma.data.jpeg_structure import read_jpeg
from melanoma.data.phantoms.drawing import draw_phantom

COMMON: dict[str, dict[str, Any]] = {
    "quality 30": {"quality": 30},
    "no subsampling": {"quality": 95, "subsampling": 0},
    "columns subsampled": {"quality": 80, "subsampling": 1},
    "progressive": {"quality": 80, "progressive": True},
    "restarts": {"quality": 80, "restart_marker_blocks": 3},
    "stored as RGB": {"quality": 80, "keep_rgb": True},
}


@pytest.fixture(scope="module")
def photograph() -> Image.Image:
    drawn = draw_phantom(melanoma=True, rng=np.random.default_rng(5), size=96)
    return Image.fromarray(drawn[:75, :93])  # sides that no block fits


def decode(data: bytes) -> Any:
    return decode_jpeg(data, read_jpeg(data), Image.open(io.BytesIO(data)))


@pytest.mark.parametrize("form", COMMON)
def test_the_pixels_are_pillows(form: str, photograph: Image.Image) -> None:
    data = encoded(photograph, "JPEG", **COMMON[form])
    assert np.array_equal(decode(data), np.asarray(Image.open(io.BytesIO(data))))


@pytest.mark.parametrize("sampling", [0x411111, 0x121111])
def test_the_pixels_are_pillows_where_rows_or_four_columns_share_a_color(
    sampling: int, photograph: Image.Image
) -> None:
    how = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    data = cv2.imencode(".jpg", np.asarray(photograph)[..., ::-1], how)[1].tobytes()
    assert np.array_equal(decode(data), np.asarray(Image.open(io.BytesIO(data))))


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_what_is_not_in_three_colors_is_left_to_pillow(mode: str, photograph: Image.Image) -> None:
    data = encoded(photograph.convert(mode), "JPEG")
    assert decode(data) is None
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert np.array_equal(decode_image(data).pixels, expected)


def test_what_libjpeg_turbo_will_not_decode_is_left_to_pillow(
    photograph: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encoded(photograph, "JPEG")
    expected = decode_image(data).pixels
    structure, image = read_jpeg(data), Image.open(io.BytesIO(data))
    assert decode_jpeg(b"\xff\xd8\xff" + data[60:], structure, image) is None
    monkeypatch.setattr(images, "decode_jpeg", lambda *_: None)
    assert np.array_equal(decode_image(data).pixels, expected)
