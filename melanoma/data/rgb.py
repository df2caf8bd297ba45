"""From what Pillow decoded to upright (H, W, 3) uint8 RGB, a strip at a time.

Strips, because each conversion is a copy, and a copy of 50 megapixels is 200 MB.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.ImageCms import ImageCmsTransform

from melanoma.data.color import to_srgb
from melanoma.types import Pixels

_STRIP_PIXELS = 1 << 20
_ORIENTATION = 0x0112
# What EXIF's numbers do to (H, W, 3). OpenCV turns by blocks, five times as fast as numpy.
_TURNS: dict[int, Callable[[Pixels], Any]] = {
    2: lambda pixels: cv2.flip(pixels, 1),
    3: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_180),
    4: lambda pixels: cv2.flip(pixels, 0),
    5: cv2.transpose,
    6: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_90_CLOCKWISE),
    7: lambda pixels: cv2.flip(cv2.transpose(pixels), -1),
    8: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_90_COUNTERCLOCKWISE),
}
# Below this standard deviation of grey levels there is nothing to see: a lens cap, a white sheet.
LOW_INFORMATION = 4.0
# Neighbors in a picture of 64 pixels are alike: in 3,000 photographs of skin they correlate by 0.64
# and more, in noise by less than 0.1, however it was stored.
_MIN_CORRELATION = 0.4
_SIDE_OF_LEVELS, _SIDE_OF_NEIGHBORS = 512, 64


def read_orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 where there is none that can be read.

    Pillow's exif_transpose also rewrites the EXIF block, and fails on photographs in which any
    other tag is odd; only the one tag is read here.
    """
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except MemoryError:
        raise
    except Exception:  # Pillow raises a dozen kinds here; what cannot be read is none
        return 1
    return orientation if isinstance(orientation, int) else 1


def make_upright(pixels: Pixels, orientation: int) -> Pixels:
    """The pixels turned as the orientation says; read-only, as several hands hold them."""
    turn = _TURNS.get(orientation)
    upright: Pixels = pixels if turn is None else turn(pixels)
    upright.flags.writeable = False
    return upright


def to_rgb(
    image: Image.Image | Pixels, *, color: ImageCmsTransform | None = None, bits: int = 16
) -> Pixels:
    """The stored rows as sRGB: colors changed as `color` says, alpha laid over white, grey of more
    than 8 bits scaled from its `bits`. An array is (H, W, 3) RGB or (H, W, 4) RGBA."""
    if isinstance(image, Image.Image):
        width, height = image.size
    else:
        height, width, channels = image.shape
        if channels == 3 and color is None:
            return image
    rows = max(1, _STRIP_PIXELS // width)
    if isinstance(image, Image.Image) and rows >= height:
        return _strip_to_rgb(image, color, bits)
    pixels = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, rows):
        if isinstance(image, Image.Image):
            strip = image.crop((0, top, width, min(top + rows, height)))
        else:
            strip = Image.fromarray(image[top : top + rows])
        pixels[top : top + rows] = _strip_to_rgb(strip, color, bits)
    return pixels


def has_low_information(pixels: Pixels) -> bool:
    """Whether there is nothing to see, or nothing but noise; measured on shrunk copies."""
    small = _mean_of_colors(shrink(pixels, _SIDE_OF_NEIGHBORS))
    # Averaging only takes from a spread: what is left of it in the smaller copy is in the larger
    # one too, which takes longer to make.
    if small.std() < 2 * LOW_INFORMATION:
        levels = _mean_of_colors(shrink(pixels, _SIDE_OF_LEVELS))
        if levels.std() < LOW_INFORMATION:
            return True
    return _neighbor_correlation(small) < _MIN_CORRELATION


def _mean_of_colors(pixels: Pixels) -> npt.NDArray[np.float64]:
    """(H, W) of (H, W, 3), as `mean(axis=2)` gives it, which takes many times as long."""
    red, green, blue = (pixels[..., channel] for channel in range(3))
    return (np.add(red, green, dtype=np.uint16) + blue) / 3.0


def _strip_to_rgb(image: Image.Image, color: ImageCmsTransform | None, bits: int) -> Pixels:
    if image.mode.startswith("I"):
        # Pillow clips 16-bit grey at 255 instead of scaling it.
        grey = (np.asarray(image).astype(np.uint32) >> (bits - 8)).clip(0, 255)
        image = Image.fromarray(grey.astype(np.uint8))
    if image.has_transparency_data:
        return np.asarray(_over_white(image, color).convert("RGB"))
    if color:
        return np.asarray(to_srgb(image, color))
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _over_white(image: Image.Image, color: ImageCmsTransform | None) -> Image.Image:
    """White is sRGB's, so the colors are changed before they are mixed with it."""
    layered = image.convert("RGBA")
    if color:
        plain = image.getchannel(0) if color.input_mode == "L" else layered.convert("RGB")
        alpha = layered.getchannel(3)
        layered = to_srgb(plain, color)
        layered.putalpha(alpha)
    white = Image.new("RGBA", layered.size, "white")
    return Image.alpha_composite(white, layered)


def shrink(pixels: Pixels, side: int) -> Pixels:
    """The photograph with its longest side at `side`, averaged by area; a smaller one as it is."""
    height, width = pixels.shape[:2]
    share = side / max(height, width)
    if share >= 1:
        return pixels
    size = (max(1, round(width * share)), max(1, round(height * share)))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def _neighbor_correlation(levels: npt.NDArray[np.float64]) -> float:
    """Of pixels side by side or one above the other, whichever are more alike."""
    variance = float(levels.var())
    if variance == 0:
        return 1.0
    steps = [np.square(np.diff(levels, axis=axis)).mean() for axis in (0, 1)]
    return 1 - float(min(steps)) / 2 / variance
