"""From a photograph's bytes to the square that is scored, so many pixels at a time.

Whole photographs are what fills a service's memory. The decoder bounds those that are being
decoded; here they are bounded until nobody holds them any more.
"""

from __future__ import annotations

from melanoma.data.decoding_room import DecodingRoom
from melanoma.data.images import MAX_PIXELS, Photograph, Pixels, count_pixels, decode_image
from melanoma.data.rgb import shrink
from melanoma.scoring.scorer import Scorer

KEPT_SIDE = 2048  # of a photograph that is drawn; three times the side of the picture
_WHOLE = DecodingRoom(MAX_PIXELS)


def decode_square(scorer: Scorer, data: bytes) -> tuple[Pixels, tuple[str, ...]]:
    """The square and its warnings. Raises ImageError."""
    with _WHOLE.hold(count_pixels(data)):
        photograph = decode_image(data)
        return scorer.square(photograph.pixels), photograph.warnings


def decode_to_draw(scorer: Scorer, data: bytes) -> tuple[Photograph, Pixels]:
    """The photograph, at KEPT_SIDE at most, and the square of the whole of it.

    It is kept until it is explained and drawn: a phone's photograph is 150 MB all that time.
    Raises ImageError.
    """
    with _WHOLE.hold(count_pixels(data)):
        photograph = decode_image(data)
        square = scorer.square(photograph.pixels)
        return photograph._replace(pixels=shrink(photograph.pixels, KEPT_SIDE)), square
