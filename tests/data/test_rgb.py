"""From Pillow's modes to RGB, strip by strip: the same pixels as all at once, in less memory."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from image_bytes import encoded
from PIL import Image, ImageOps

from melanoma.data import images, rgb
from melanoma.data.decoding_room import BYTES_A_PIXEL, DecodingRoom
from melanoma.data.images import decode_image
from melanoma.data.phantoms.drawing import draw_phantom

MODES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "rgb": ("RGB", "PNG", {}),
    "jpeg": ("RGB", "JPEG", {}),
    "grey": ("L", "PNG", {}),
    "black and white": ("1", "PNG", {}),
    "palette": ("P", "PNG", {}),
    "transparent palette": ("P", "PNG", {"transparency": 3}),
    "transparent color": ("RGB", "PNG", {"transparency": (200, 150, 130)}),
    "alpha": ("RGBA", "PNG", {}),
    "grey and alpha": ("LA", "PNG", {}),
    "cmyk": ("CMYK", "JPEG", {}),
    "webp with alpha": ("RGBA", "WEBP", {"lossless": True}),
}


@pytest.fixture(scope="module")
def photograph() -> Image.Image:
    """With an alpha that differs from pixel to pixel."""
    drawn = draw_phantom(melanoma=True, rng=np.random.default_rng(5), size=96)[:70]
    alpha = np.random.default_rng(0).integers(0, 256, (70, 96, 1)).astype(np.uint8)
    return Image.fromarray(np.concatenate([drawn, alpha], axis=2), "RGBA")


def all_at_once(data: bytes) -> Any:
    """What the first version of the decoder gave."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("kind", MODES)
@pytest.mark.parametrize("strip", [1, 1_000, 1 << 20])
def test_strips_give_the_pixels_that_the_whole_gives(
    kind: str, strip: int, photograph: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    mode, coding, options = MODES[kind]
    source = photograph if mode in ("RGBA", "LA") else photograph.convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 7
    data = encoded(source.convert(mode), coding, exif=exif, **options)
    monkeypatch.setattr(rgb, "_STRIP_PIXELS", strip)
    assert np.array_equal(decode_image(data).pixels, all_at_once(data))


def test_a_photograph_is_decoded_within_its_share_of_the_room(
    photograph: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = DecodingRoom(100_000)
    free: list[int] = []
    to_rgb = images.to_rgb

    def watched(image: Image.Image, **more: Any) -> Any:
        free.append(room._free)
        return to_rgb(image, **more)

    monkeypatch.setattr(images, "ROOM", room)
    monkeypatch.setattr(images, "to_rgb", watched)
    decode_image(encoded(photograph, "PNG"))
    assert free == [100_000 - 96 * 70 * BYTES_A_PIXEL]
    with pytest.raises(images.ImageError):
        decode_image(encoded(photograph, "PNG")[:-500])
    assert room._free == 100_000


def test_a_fine_pattern_that_shrinking_evens_out_is_something_to_see() -> None:
    checks = np.indices((512, 512)).sum(axis=0) // 2 % 2
    picture = np.repeat((100 + 50 * checks)[..., None], 3, axis=2).astype(np.uint8)
    assert rgb.shrink(picture, 64).std() < rgb.LOW_INFORMATION
    assert not rgb.has_low_information(picture)
