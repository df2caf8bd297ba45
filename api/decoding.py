"""From a photograph's bytes to the square that is scored, so many pixels at a time.

Whole photographs are what fills a service's memory. A decoder bounds those that it decodes; here
they are bounded until nobody holds them any more, in this process and in those that decode.
"""

from __future__ import annotations

from api.aside import NICENESS
from melanoma.data.decoding_process import DecodeRequest, DecodingProcesses
from melanoma.data.decoding_room import DecodingRoom
from melanoma.data.images import MAX_PIXELS, Photograph, Pixels, count_pixels
from melanoma.devices import count_cores
from melanoma.scoring.explain.lime import KEPT_SIDE
from melanoma.scoring.scorer import Scorer

DECODERS = max(2, count_cores() // 2)  # photographs of a usual size at a time
_WHOLE = DecodingRoom(MAX_PIXELS)
# And one for large photographs, one for those that are explained.
_PROCESSES = DecodingProcesses(DECODERS + 2, niceness=NICENESS)


def start_decoding() -> None:
    """Have a process ready for the first photograph."""
    _PROCESSES.warm()


def decode_square(scorer: Scorer, data: bytes) -> tuple[Pixels, tuple[str, ...]]:
    """The square and its warnings. Raises ImageError."""
    with _WHOLE.hold(count_pixels(data)):
        square, warnings, _ = _PROCESSES.decode(data, _decode_request(scorer))
        return square, warnings


def decode_to_draw(scorer: Scorer, data: bytes) -> tuple[Photograph, Pixels]:
    """The photograph, at KEPT_SIDE at most, and the square of the whole of it.

    It is kept until it is explained and drawn: a phone's photograph is 150 MB all that time.
    Raises ImageError.
    """
    with _WHOLE.hold(count_pixels(data)):
        square, warnings, pixels = _PROCESSES.decode(
            data, _decode_request(scorer, kept_side=KEPT_SIDE)
        )
    assert pixels is not None
    return Photograph(pixels, warnings), square


def _decode_request(scorer: Scorer, *, kept_side: int | None = None) -> DecodeRequest:
    return DecodeRequest(scorer.bundle.size, scorer.bundle.fit, kept_side)
