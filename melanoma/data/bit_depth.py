"""Pictures of 10 or 12 bits in files of 16: written without being scaled, they look black."""

from __future__ import annotations

import numpy as np
from PIL import Image

from melanoma.data.png_structure import PngStructure

UNSTATED = "unstated_bit_depth"
_FEWEST = 12  # a picture that fills no more than 12 of 16 bits is a sixteenth as bright as can be


def find_bits(image: Image.Image, structure: PngStructure) -> tuple[int, tuple[str, ...]]:
    """The bits that the decoded image's values fill, and warnings.

    PNG wants values scaled to all 16 bits whatever sBIT says. Where they are not, and sBIT says how
    many bits there are, those are taken; where nothing says it, nothing is guessed.
    """
    if structure.depth != 16:
        return 16, ()
    if not image.mode.startswith("I"):
        # Pillow has kept the upper 8 of 16 bits, so that the others cannot be brought back.
        highest = max(high for _, high in _extrema(image))
        return 16, (UNSTATED,) if 0 < highest < 1 << (_FEWEST - 8) else ()
    highest = int(_extrema(image)[0][1])
    bits = structure.significant
    if 8 <= bits < 16 and highest < 1 << bits and not _is_scaled(image, bits):
        return bits, ()
    return 16, (UNSTATED,) if 0 < highest < 1 << _FEWEST else ()


def _is_scaled(image: Image.Image, bits: int) -> bool:
    """Whether the values are a dark picture's that was moved to the upper bits."""
    return not (np.asarray(image) & ((1 << (16 - bits)) - 1)).any()


def _extrema(image: Image.Image) -> list[tuple[float, float]]:
    """The lowest and the highest value of each channel that has colors."""
    extrema = image.getextrema()
    pairs = extrema if isinstance(extrema[0], tuple) else (extrema,)
    colors = [pair for pair in pairs if isinstance(pair, tuple)]
    return colors[: 3 if len(colors) > 2 else 1]
