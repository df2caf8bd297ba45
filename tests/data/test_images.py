"""The decoder: every way to store one picture gives that picture; all else is refused by code."""

from __future__ import annotations

import io
import random
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil
import pytest
from PIL import Image, ImageFile

from melanoma.data.images import (
    MAX_ASPECT,
    MAX_BYTES,
    MAX_FILE_BYTES,
    MAX_PIXELS,
    MAX_SIDE,
    MIN_SIDE,
    Photograph,
    decode_image,
    make_square,
    read_file_square,
)
from melanoma.data.phantoms.drawing import draw_phantom
from melanoma.errors import ImageError

Pixels = npt.NDArray[np.uint8]

GOLDEN = Path(__file__).with_name("golden_phantom.jpg")
# The golden phantom (96 px) squashed to 4 x 4, as Pillow 13.0 and OpenCV decoded it.
GOLDEN_SQUARE = np.array(
    [
        [[243, 197, 182], [238, 192, 177], [223, 181, 167], [208, 165, 154]],
        [[227, 177, 158], [185, 130, 113], [161, 105, 89], [197, 146, 125]],
        [[217, 169, 154], [156, 108, 92], [114, 77, 63], [224, 179, 161]],
        [[216, 172, 159], [227, 177, 164], [231, 178, 158], [246, 201, 183]],
    ],
    np.uint8,
)

# EXIF 2.3, tag 0x0112: the sides of the scene on which the stored row 0 and column 0 lie.
ORIENTATIONS = {
    1: ("top", "left"),
    2: ("top", "right"),
    3: ("bottom", "right"),
    4: ("bottom", "left"),
    5: ("left", "top"),
    6: ("right", "top"),
    7: ("right", "bottom"),
    8: ("left", "bottom"),
}


@pytest.fixture(scope="module")
def scene() -> Pixels:
    """48 high, 64 wide, and unlike any of its mirror images."""
    return draw_phantom(melanoma=True, rng=np.random.default_rng(5), size=64)[:48]


def encoded(pixels: Pixels | Image.Image, kind: str, **options: Any) -> bytes:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def with_frames(pixels: Pixels, kind: str, **options: Any) -> bytes:
    other = Image.fromarray(255 - pixels)
    return encoded(pixels, kind, save_all=True, append_images=[other], **options)


def refusal(data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        decode_image(data)
    return caught.value.code


def stored(pixels: Pixels, row_0: str, column_0: str) -> Pixels:
    """The scene as a camera that is held that way writes it."""
    if row_0 in ("left", "right"):
        pixels = pixels.transpose(1, 0, 2)
    rows = -1 if row_0 in ("bottom", "right") else 1
    columns = -1 if column_0 in ("bottom", "right") else 1
    return np.ascontiguousarray(pixels[::rows, ::columns])


def png_chunk(kind: bytes, content: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + check


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and has hardly any pixels: what a bomb looks like from outside."""
    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = png_chunk(b"IHDR", size) + png_chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + body + png_chunk(b"IEND", b"")


def jpeg_header(width: int, height: int) -> bytes:
    frame = struct.pack(">HBHHB", 17, 8, height, width, 3) + bytes([1, 34, 0, 2, 17, 1, 3, 17, 1])
    scan = b"\xff\xda\x00\x0c\x03\x01\x00\x02\x11\x03\x11\x00\x3f\x00" + bytes(100)
    return b"\xff\xd8\xff\xc0" + frame + scan + b"\xff\xd9"


def webp_header(width: int, height: int) -> bytes:
    pixels = np.zeros((16, 16, 3), np.uint8)
    data = bytearray(with_frames(pixels, "WEBP"))
    start = data.index(b"VP8X") + 12
    data[start : start + 6] = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return bytes(data)


@pytest.mark.parametrize(
    ("kind", "options"),
    [("PNG", {}), ("WEBP", {"lossless": True}), ("PNG", {"compress_level": 0})],
)
def test_lossless_formats_come_back_bit_for_bit(
    scene: Pixels, kind: str, options: dict[str, Any]
) -> None:
    photograph = decode_image(encoded(scene, kind, **options))
    assert np.array_equal(photograph.pixels, scene)
    assert photograph.warnings == ()


@pytest.mark.parametrize(
    ("kind", "options"),
    [("JPEG", {}), ("JPEG", {"progressive": True}), ("WEBP", {})],
)
def test_lossy_formats_come_back_in_rgb_order_with_a_small_loss(
    scene: Pixels, kind: str, options: dict[str, Any]
) -> None:
    found = decode_image(encoded(scene, kind, quality=95, **options)).pixels
    assert abs(found.astype(int) - scene).mean() < 5
    swapped = abs(found[..., ::-1].astype(int) - scene).mean()
    assert swapped > 15  # the scene is red enough to tell the orders apart


def test_the_golden_photograph_still_decodes_to_the_same_colors() -> None:
    square = read_file_square(GOLDEN, size=4, fit="squash")[0]
    assert abs(square.astype(int) - GOLDEN_SQUARE).max() <= 2


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG"])
def test_all_eight_exif_orientations_show_one_scene(
    scene: Pixels, kind: str, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    held = stored(scene, *ORIENTATIONS[orientation])
    options = {"lossless": True} if kind == "WEBP" else {"quality": 98} if kind == "JPEG" else {}
    found = decode_image(encoded(held, kind, exif=exif, **options)).pixels
    assert found.shape == scene.shape
    assert abs(found.astype(int) - scene).mean() <= (4 if kind == "JPEG" else 0)


def test_a_nonsensical_orientation_is_ignored(scene: Pixels) -> None:
    exif = Image.Exif()
    exif[0x0112] = 77
    assert np.array_equal(decode_image(encoded(scene, "PNG", exif=exif)).pixels, scene)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_grey_images_become_three_equal_channels(scene: Pixels, kind: str) -> None:
    grey = scene[..., 1]
    found = decode_image(encoded(grey, kind)).pixels.astype(int)
    assert abs(np.ptp(found, axis=2)).max() <= (2 if kind == "WEBP" else 0)
    assert abs(found[..., 0] - grey).mean() < 8


def test_sixteen_bit_grey_is_scaled_and_not_clipped(scene: Pixels) -> None:
    grey = scene[..., 0].astype(np.uint16)
    for deep in (grey * 257, grey * 256, grey * 256 + 255):
        found = decode_image(encoded(deep, "PNG")).pixels
        assert np.array_equal(found, np.repeat(scene[..., :1], 3, axis=2))


def test_sixteen_bit_grey_is_turned_upright_too(scene: Pixels) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    held = stored(scene, *ORIENTATIONS[6])[..., 0].astype(np.uint16) * 257
    found = decode_image(encoded(held, "PNG", exif=exif)).pixels
    assert np.array_equal(found[..., 0], scene[..., 0])


def test_black_and_white_images_become_0_and_255() -> None:
    dots = np.indices((20, 20)).sum(axis=0) % 3 == 0
    found = decode_image(encoded(Image.fromarray(dots), "PNG")).pixels
    assert np.array_equal(found[..., 2], dots * np.uint8(255))


def test_cmyk_shows_the_colors_of_its_rgb_original(scene: Pixels) -> None:
    cmyk = Image.fromarray(scene).convert("CMYK")
    data = encoded(cmyk, "JPEG", quality=100, subsampling=0)
    assert Image.open(io.BytesIO(data)).mode == "CMYK"
    assert abs(decode_image(data).pixels.astype(int) - scene).mean() < 2


@pytest.mark.parametrize("alpha", [0, 1, 128, 254, 255])
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_alpha_is_laid_over_white(scene: Pixels, kind: str, alpha: int) -> None:
    layer = np.full((*scene.shape[:2], 1), alpha, np.uint8)
    layer[:, :32] = 255
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    found = decode_image(encoded(np.concatenate([scene, layer], axis=2), kind, **options)).pixels
    wanted = scene * (layer / 255) + 255 * (1 - layer / 255)
    assert abs(found - wanted).max() <= 1


def test_grey_with_alpha_is_laid_over_white(scene: Pixels) -> None:
    layer = np.where(np.arange(64) < 32, 0, 255).astype(np.uint8) * np.ones((48, 1), np.uint8)
    image = Image.fromarray(np.dstack([scene[..., 0], layer]), "LA")
    found = decode_image(encoded(image, "PNG")).pixels
    assert (found[:, :32] == 255).all()
    assert np.array_equal(found[:, 32:, 0], scene[:, 32:, 0])


def test_a_transparent_palette_entry_becomes_white_and_the_others_their_colors() -> None:
    index = np.indices((30, 30)).sum(axis=0).astype(np.uint8) % 4
    image = Image.fromarray(index, "P")
    colors = [(200, 10, 20), (30, 180, 40), (50, 60, 170), (80, 90, 100)]
    image.putpalette([value for color in colors for value in color])
    found = decode_image(encoded(image, "PNG", transparency=2)).pixels
    for number, color in enumerate(colors):
        wanted = (255, 255, 255) if number == 2 else color
        assert (found[index == number] == wanted).all()


@pytest.mark.parametrize(
    ("kind", "options"), [("WEBP", {"lossless": True}), ("PNG", {}), ("MPO", {"quality": 98})]
)
def test_of_several_frames_the_first_is_taken_with_a_warning(
    scene: Pixels, kind: str, options: dict[str, Any]
) -> None:
    photograph = decode_image(with_frames(scene, kind, **options))
    assert photograph.warnings == ("multi_frame",)
    assert abs(photograph.pixels.astype(int) - scene).mean() < 4


@pytest.mark.parametrize("level", [0, 128, 255])
def test_an_image_without_detail_is_accepted_with_a_warning(level: int) -> None:
    blank = np.full((40, 40, 3), level, np.uint8)
    assert decode_image(encoded(blank, "PNG")).warnings == ("low_information",)


@pytest.mark.parametrize("side", [40, 300, 900])
@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("JPEG", {"quality": 60})])
def test_noise_is_accepted_with_a_warning(side: int, kind: str, options: dict[str, Any]) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (side, side, 3)).astype(np.uint8)
    assert decode_image(encoded(noise, kind, **options)).warnings == ("low_information",)


@pytest.mark.parametrize("side", [16, 48, 600])
def test_a_lesion_has_no_such_warning(side: int) -> None:
    for seed in range(4):
        drawn = draw_phantom(melanoma=seed % 2 == 0, rng=np.random.default_rng(seed), size=side)
        grain = np.random.default_rng(seed).normal(0, 6, drawn.shape)
        grainy = (drawn + grain).clip(0, 255).astype(np.uint8)
        assert decode_image(encoded(grainy, "PNG")).warnings == ()


def test_an_empty_file_is_refused() -> None:
    assert refusal(b"") == "empty_file"


def test_ten_megabytes_are_the_limit() -> None:
    assert refusal(bytes(MAX_BYTES + 1)) == "too_large"
    assert refusal(bytes(MAX_BYTES)) == "unsupported_format"


def test_a_data_set_s_files_may_be_larger_than_an_upload(tmp_path: Path) -> None:
    data = encoded(np.full((30, 30, 3), 99, np.uint8), "PNG")
    path = tmp_path / "large.png"
    path.write_bytes(data + bytes(MAX_BYTES))  # what follows IEND is not read
    assert refusal(path.read_bytes()) == "too_large"
    assert read_file_square(path, size=20, fit="squash")[0].mean() == 99
    with path.open("r+b") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(ImageError, match=f"the limit is {MAX_FILE_BYTES:,}"):
        read_file_square(path, size=20, fit="squash")[0]


OTHERS: dict[str, Callable[[], bytes]] = {
    kind: (lambda kind=kind: encoded(np.full((30, 30, 3), 99, np.uint8), kind))  # type: ignore[misc]
    for kind in ("GIF", "BMP", "TIFF", "EPS", "PDF", "PPM", "ICO", "TGA", "JPEG2000")
}


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("lesion.jpg", encoded(np.zeros((30, 30, 3), np.uint8), "JPEG"))
    return buffer.getvalue()


OTHERS |= {
    "zip": zipped,
    "text": lambda: b"not a photograph\n" * 9,
    "HEIC": lambda: b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(200),
    "DICOM": lambda: bytes(128) + b"DICM" + bytes(200),
    "SVG": lambda: b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><svg>&e;</svg>',
    "HTML": lambda: b"<!doctype html><title>404</title>",
    "one byte": lambda: b"\xff",
}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_formats_are_refused_with_what_to_do(kind: str) -> None:
    with pytest.raises(ImageError, match="convert to JPEG/PNG") as caught:
        decode_image(OTHERS[kind]())
    assert caught.value.code == "unsupported_format"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("kept", ["half", "all but 50 bytes"])
def test_a_file_that_was_cut_off_is_refused(scene: Pixels, kind: str, kept: str) -> None:
    data = encoded(scene, kind)
    cut = data[: len(data) // 2 if kept == "half" else -50]
    assert refusal(cut) == "corrupt_image"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "MPO"])
def test_random_damage_gives_a_picture_or_a_refusal_and_nothing_else(
    scene: Pixels, kind: str
) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "camera"
    whole = with_frames(scene, "MPO") if kind == "MPO" else encoded(scene, kind, exif=exif)
    dice = random.Random(kind)
    refused = 0
    for _ in range(250):
        data = bytearray(whole)
        for _ in range(dice.choice([1, 2, 8])):
            data[dice.randrange(dice.choice([200, len(data)]))] = dice.randrange(256)
        try:
            assert isinstance(decode_image(bytes(data)), Photograph)
        except ImageError:
            refused += 1
    # Every chunk of a PNG has a checksum.
    assert refused == 250 if kind == "PNG" else 0 < refused < 250


BOMBS = {
    "png of 400 megapixels": png_header(20_000, 20_000),
    "png of 64 megapixels": png_header(8_000, 8_000),
    "jpeg of 4 gigapixels": jpeg_header(65_500, 65_500),
    "webp of 268 megapixels": webp_header(16_383, 16_383),
    "png of one long side": png_header(MAX_SIDE + 1, 2_000),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_is_refused_by_its_header(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    decode_image(encoded(np.zeros((20, 20, 3), np.uint8), "PNG"))

    def never(*_: object, **__: object) -> None:
        raise AssertionError("decoded before its size was checked")

    monkeypatch.setattr(ImageFile.ImageFile, "load", never)
    process = psutil.Process()
    before = process.memory_info().rss
    assert refusal(BOMBS[kind]) == "too_many_pixels"
    assert process.memory_info().rss - before < 20_000_000


def test_a_size_at_the_limit_is_not_refused_for_its_size() -> None:
    width, height = 10_000, MAX_PIXELS // 10_000
    assert refusal(png_header(width, height)) == "corrupt_image"
    assert refusal(png_header(width, height + 1)) == "too_many_pixels"


@pytest.mark.parametrize(
    ("width", "height", "code"),
    [
        (1, 1, "too_small"),
        (1, 5_000, "too_small"),
        (MIN_SIDE - 1, 100, "too_small"),
        (MIN_SIDE, int(MIN_SIDE * MAX_ASPECT) + 1, "bad_aspect"),
        (int(MIN_SIDE * MAX_ASPECT) + 1, MIN_SIDE, "bad_aspect"),
    ],
)
def test_slivers_are_refused_with_their_size(width: int, height: int, code: str) -> None:
    data = encoded(np.zeros((height, width, 3), np.uint8), "PNG")
    with pytest.raises(ImageError, match=f"{width} x {height}") as caught:
        decode_image(data)
    assert caught.value.code == code


def test_the_smallest_and_the_longest_accepted_shapes_pass() -> None:
    for shape in ((MIN_SIDE, MIN_SIDE), (MIN_SIDE, int(MIN_SIDE * MAX_ASPECT))):
        pixels = np.zeros((*shape, 3), np.uint8)
        assert decode_image(encoded(pixels, "PNG")).pixels.shape == (*shape, 3)


def test_a_file_that_cannot_be_opened_is_a_refusal_and_no_crash(tmp_path: Path) -> None:
    with pytest.raises(ImageError) as caught:
        read_file_square(tmp_path / "absent.jpg", size=32, fit="squash")[0]
    assert caught.value.code == "unreadable_file"
    with pytest.raises(ImageError):
        read_file_square(tmp_path, size=32, fit="squash")[0]


@pytest.mark.parametrize(("down", "across"), [(2, 2), (3, 3), (5, 2), (1, 4)])
def test_shrinking_a_whole_number_of_times_gives_each_block_its_mean(
    down: int, across: int
) -> None:
    wide = np.random.default_rng(down).integers(0, 256, (32 * down, 32 * across, 3))
    wide = wide.astype(np.uint8)
    mean = wide.reshape(32, down, 32, across, 3).mean(axis=(1, 3))
    assert abs(make_square(wide, size=32, fit="squash") - mean).max() <= 0.5 + 1e-6
    flat = np.kron(wide[:32, :32], np.ones((down, across, 1), np.uint8))
    assert np.array_equal(make_square(flat, size=32, fit="squash"), wide[:32, :32])


def test_a_checkerboard_becomes_even_grey() -> None:
    board = (np.indices((128, 128)).sum(axis=0) % 2 * 255).astype(np.uint8)
    square = make_square(np.dstack([board] * 3), size=32, fit="squash")
    assert np.ptp(square) == 0
    assert square[0, 0, 0] in (127, 128)


def test_shrinking_by_a_fraction_weighs_pixels_by_their_overlap() -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (48, 80, 3)).astype(np.uint8)

    def overlaps(length: int, size: int) -> npt.NDArray[np.float64]:
        edges = np.arange(size + 1) * length / size
        pixel = np.arange(length)
        low = np.maximum(edges[:-1, None], pixel)
        high = np.minimum(edges[1:, None], pixel + 1)
        return np.maximum(high - low, 0) * size / length

    wanted = np.einsum("ih,hwc,jw->ijc", overlaps(48, 32), pixels, overlaps(80, 32))
    assert abs(make_square(pixels, size=32, fit="squash") - wanted).max() <= 1


def test_one_side_may_shrink_while_the_other_grows() -> None:
    stripes = np.random.default_rng(3).integers(0, 256, (1, 32, 3)).astype(np.uint8)
    wide = np.kron(stripes, np.ones((16, 4, 1), np.uint8))
    square = make_square(wide, size=32, fit="squash")
    assert np.array_equal(square, np.broadcast_to(stripes, (32, 32, 3)))
    tall = make_square(wide.transpose(1, 0, 2), size=32, fit="squash")
    assert np.array_equal(tall, square.transpose(1, 0, 2))


def test_growing_stays_within_the_range_of_the_original() -> None:
    small = np.random.default_rng(4).integers(90, 110, (16, 16, 3)).astype(np.uint8)
    square = make_square(small, size=50, fit="squash")
    assert square.shape == (50, 50, 3)
    assert square.min() >= small.min()
    assert square.max() <= small.max()
    assert abs(square.mean() - small.mean()) < 1


@pytest.mark.parametrize(("height", "width"), [(40, 60), (60, 40), (40, 45), (45, 40), (40, 40)])
def test_the_center_square_leaves_equal_margins(height: int, width: int) -> None:
    pixels = np.random.default_rng(height).integers(0, 256, (height, width, 3)).astype(np.uint8)
    top, left = (height - 40) // 2, (width - 40) // 2
    square = make_square(pixels, size=40, fit="center")
    assert np.array_equal(square, pixels[top : top + 40, left : left + 40])
    assert square.flags.c_contiguous


def test_squash_shows_the_whole_and_center_does_not(scene: Pixels) -> None:
    marked = scene.copy()
    marked[:, :4] = (255, 0, 0)
    assert np.array_equal(
        make_square(marked, size=24, fit="center"), make_square(scene, size=24, fit="center")
    )
    assert (make_square(marked, size=24, fit="squash")[:, 0] == (255, 0, 0)).all()


def test_an_odd_exif_tag_neither_fails_nor_stops_the_orientation() -> None:
    odd = struct.pack(">HHI4s", 265, 2, 2, b"s\0\0\0")  # a number's tag that holds text
    upright = struct.pack(">HHIHH", 274, 3, 1, 6, 0)
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x02" + odd + upright + b"\0\0\0\0"
    pixels = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", exif=exif)
    assert decode_image(file.getvalue()).pixels.shape == (48, 32, 3)
