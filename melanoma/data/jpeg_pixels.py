"""The pixels of a JPEG in color, by libjpeg-turbo itself.

Pillow has them from the same library, bit for bit, by way of four bytes a pixel and a copy
(benchmarks/jpeg_pixels.py counts both). Whatever is not of the common kind is Pillow's.
"""

from __future__ import annotations

import simplejpeg
from PIL import Image

from melanoma.data.jpeg_structure import JpegStructure
from melanoma.types import Pixels


def decode_jpeg(data: bytes, structure: JpegStructure, image: Image.Image) -> Pixels | None:
    """(H, W, 3) uint8 RGB as stored, of a JPEG that check_jpeg found whole; None where `image`,
    Pillow's of the same bytes and not loaded yet, is to decode it."""
    if image.mode != "RGB" or len(structure.components) != 3:
        return None
    try:
        # What the verifier accepted, such as padding, is no reason to stop here.
        pixels: Pixels = simplejpeg.decode_jpeg(data, "RGB", strict=False)
    except ValueError:
        return None
    return pixels if pixels.shape[:2] == (image.height, image.width) else None
