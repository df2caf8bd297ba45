"""One scene stored in different color spaces, and in different depths, comes back as one scene."""

from __future__ import annotations

import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from image_bytes import encoded, icc_cmyk, icc_gamma, icc_profile, icc_rgb, with_chunk
from PIL import Image, ImageCms
from scenes import ADOBE, SRGB, Pixels, linear, written_in

from melanoma.data import color
from melanoma.data.images import Photograph, decode_image
from melanoma.data.phantoms.drawing import draw_phantom

# Primaries in XYZ under D50, columns red, green, blue; as their specifications have them.
P3 = ((0.5151, 0.2412, -0.0011), (0.2920, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841))
PROPHOTO = ((0.7977, 0.2880, 0.0), (0.1352, 0.7119, 0.0), (0.0313, 0.0001, 0.8249))
SPACES = {"P3": (P3, 2.2), "Adobe RGB": (ADOBE, 2.2), "ProPhoto": (PROPHOTO, 1.8)}


@pytest.fixture(scope="module")
def scene() -> Pixels:
    return draw_phantom(melanoma=True, rng=np.random.default_rng(5), size=64)[:48]


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize(
    ("kind", "options"),
    [("PNG", {}), ("WEBP", {"lossless": True}), ("JPEG", {"quality": 98, "subsampling": 0})],
)
def test_the_colors_of_a_wide_space_become_srgb(
    space: str, kind: str, options: dict[str, Any], scene: Pixels
) -> None:
    primaries, gamma = SPACES[space]
    stored = written_in(scene, primaries, gamma)
    profile = icc_rgb(*primaries, gamma=gamma)
    found = decode_image(encoded(stored, kind, icc_profile=profile, **options))
    assert found.warnings == ()
    missed = abs(found.pixels.astype(int) - scene).mean()
    assert missed < 2
    assert abs(stored.astype(int) - scene).mean() > 2 * missed  # what it was taken for before


def test_a_large_profile_is_used_up_to_the_limit(scene: Pixels) -> None:
    stored = written_in(scene, ADOBE, 2.2)
    profile = icc_rgb(*ADOBE, gamma=2.2, ballast=color.MAX_PROFILE - 2_000)
    found = decode_image(encoded(stored, "JPEG", quality=98, subsampling=0, icc_profile=profile))
    assert found.warnings == ()
    assert abs(found.pixels.astype(int) - scene).mean() < 2


@pytest.mark.parametrize("alpha", [0, 100, 255])
def test_white_under_an_alpha_is_not_converted(alpha: int, scene: Pixels) -> None:
    layer = np.full((*scene.shape[:2], 1), alpha, np.uint8)
    stored = np.concatenate([written_in(scene, ADOBE, 2.2), layer], axis=2)
    profile = icc_rgb(*ADOBE, gamma=2.2)
    found = decode_image(encoded(stored, "PNG", icc_profile=profile)).pixels
    wanted = scene * (alpha / 255) + 255 * (1 - alpha / 255)
    assert abs(found - wanted).mean() < 2


def test_a_palette_has_its_profile_too(scene: Pixels) -> None:
    stored = Image.fromarray(written_in(scene, ADOBE, 2.2)).quantize(64)
    plain = decode_image(
        encoded(stored.convert("RGB"), "PNG", icc_profile=icc_rgb(*ADOBE, gamma=2.2))
    )
    found = decode_image(encoded(stored, "PNG", icc_profile=icc_rgb(*ADOBE, gamma=2.2)))
    assert np.array_equal(found.pixels, plain.pixels)


@pytest.mark.parametrize("name", ["littleCMS", "by hand"])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_srgb_is_left_bit_for_bit(name: str, mode: str, scene: Pixels) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    if name == "by hand":  # the same curve in 1,024 steps, as the oldest profiles have it
        curve = (linear(np.linspace(0, 255, 1024)) * 65535).round().astype(">u2").tobytes()
        tags = {}
        for letter, primary in zip((b"r", b"g", b"b"), SRGB, strict=True):
            fixed = b"".join(struct.pack(">i", round(v * 65536)) for v in primary)
            tags[letter + b"XYZ"] = b"XYZ " + bytes(4) + fixed
            tags[letter + b"TRC"] = b"curv" + bytes(4) + struct.pack(">I", 1024) + curve
        profile = icc_profile(b"RGB ", tags)
    image = Image.fromarray(scene).convert(mode)
    found = decode_image(encoded(image, "PNG", icc_profile=profile))
    assert np.array_equal(found.pixels, decode_image(encoded(image, "PNG")).pixels)
    assert found.warnings == ()


@pytest.mark.parametrize("gamma", [1.0, 1.8])
@pytest.mark.parametrize("mode", ["L", "LA", "I;16"])
def test_grey_has_its_gamma(gamma: float, mode: str, scene: Pixels) -> None:
    wanted = scene[..., 1]
    stored = (linear(wanted) ** (1 / gamma) * 255).round().astype(np.uint8)
    image = Image.fromarray(stored)
    if mode == "I;16":
        image = Image.fromarray(stored.astype(np.uint16) * 257)
    elif mode == "LA":
        image = image.convert("LA")
    profile = icc_profile(b"GRAY", {b"kTRC": icc_gamma(gamma)})
    found = decode_image(encoded(image, "PNG", icc_profile=profile))
    assert found.warnings == ()
    assert abs(found.pixels[..., 0].astype(int) - wanted).mean() < 2


def test_the_inks_of_a_cmyk_file_are_its_profiles() -> None:
    def lab(inks: tuple[int, ...]) -> tuple[float, float, float]:
        cyan, magenta, yellow, key = inks
        if key:
            return (0.0, 0.0, 0.0)
        # Cyan is violet here, which no other way of reading the file would make of it.
        return (100 - 20 * (cyan + magenta + yellow), 40 * cyan, -40 * cyan)

    image = Image.new("CMYK", (48, 32))
    image.paste((255, 0, 0, 0), (0, 0, 16, 32))
    image.paste((0, 0, 0, 255), (32, 0, 48, 32))
    data = encoded(image, "JPEG", quality=100, subsampling=0, icc_profile=icc_cmyk(lab))
    found = decode_image(data)
    assert found.warnings == ()
    red, green, blue = found.pixels[10, 5].astype(int)
    assert red > green + 40
    assert blue > green + 40
    assert (found.pixels[10, 24] > 245).all()
    assert (found.pixels[10, 44] < 10).all()


def useless() -> dict[str, tuple[str, bytes]]:
    wide = icc_rgb(*ADOBE, gamma=2.2)
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    grey = icc_profile(b"GRAY", {b"kTRC": icc_gamma(1.0)})
    return {
        "no profile": ("RGB", b"not a profile at all"),
        "cut": ("RGB", wide[:200]),
        "without a curve": ("RGB", wide.replace(b"gTRC", b"xTRC")),
        "of Lab": ("RGB", lab),
        "of grey": ("RGB", grey),
        "of inks": ("RGB", icc_cmyk(lambda inks: (50, 0, 0))),
        "of light for inks": ("CMYK", wide),
        "too large": ("RGB", icc_rgb(*ADOBE, gamma=2.2, ballast=color.MAX_PROFILE)),
    }


@pytest.mark.parametrize("kind", useless())
def test_a_profile_that_cannot_be_used_is_ignored_with_a_warning(kind: str, scene: Pixels) -> None:
    mode, profile = useless()[kind]
    image = Image.fromarray(scene).convert(mode)
    found = decode_image(encoded(image, "JPEG", icc_profile=profile))
    assert found.warnings == ("ignored_color_profile",)
    assert np.array_equal(found.pixels, decode_image(encoded(image, "JPEG")).pixels)


@pytest.mark.parametrize(
    "content",
    [
        b"name\0\0" + zlib.compress(bytes(30_000_000)),
        b"name\0\0" + b"no zlib stream",
        b"name\0\7" + zlib.compress(b"an unknown method"),
        b"no end of the name",
    ],
)
def test_a_png_whose_profile_cannot_be_unpacked_is_no_damaged_file(
    content: bytes, scene: Pixels
) -> None:
    found = decode_image(with_chunk(encoded(scene, "PNG"), b"iCCP", content))
    assert found.warnings == ("ignored_color_profile",)
    assert np.array_equal(found.pixels, scene)


def test_threads_give_what_one_thread_gives(scene: Pixels) -> None:
    stored = written_in(scene, ADOBE, 2.2)
    data = encoded(stored, "PNG", icc_profile=icc_rgb(*ADOBE, gamma=2.2))
    expected = decode_image(data).pixels
    with ThreadPoolExecutor(8) as pool:
        found: list[Photograph] = list(pool.map(decode_image, [data] * 64))
    assert all(np.array_equal(one.pixels, expected) for one in found)
