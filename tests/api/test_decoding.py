"""A service holds one whole photograph of the largest size at a time, from bytes to its square."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from image_bytes import encoded

from api import decoding
from melanoma.data.decoding_process import Decoded, DecodeRequest
from melanoma.data.decoding_room import DecodingRoom
from melanoma.data.images import decode_image
from melanoma.scoring.scorer import Scorer


def test_a_whole_photograph_counts_until_its_square_is_made(
    scorer: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = DecodingRoom(50 * 60)
    monkeypatch.setattr(decoding, "_WHOLE", room)
    decode, inside, go = decoding._PROCESSES.decode, threading.Event(), threading.Event()

    def slow_decode(data: bytes, wanted: DecodeRequest) -> Decoded:
        inside.set()
        assert go.wait(20)
        assert room._free == 0
        return decode(data, wanted)

    data = encoded(np.full((50, 60, 3), 90, np.uint8), "PNG")
    expected = scorer.square(decode_image(data).pixels)
    monkeypatch.setattr(decoding._PROCESSES, "decode", slow_decode)
    found: list[np.ndarray] = []
    work = [
        threading.Thread(target=lambda: found.append(decoding.decode_square(scorer, data)[0])),
        threading.Thread(target=lambda: found.append(decoding.decode_to_draw(scorer, data)[1])),
    ]
    work[0].start()
    assert inside.wait(20)
    work[1].start()
    go.set()
    for thread in work:
        thread.join(20)
    assert all(np.array_equal(one, expected) for one in found)
    assert len(found) == 2
    assert room._free == 50 * 60


def test_what_is_kept_to_be_drawn_is_small_and_its_square_is_the_wholes(
    scorer: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "KEPT_SIDE", 100)
    pixels = np.random.default_rng(0).integers(0, 256, (150, 200, 3), np.uint8)
    photograph, square = decoding.decode_to_draw(scorer, encoded(pixels, "PNG"))
    assert photograph.pixels.shape == (75, 100, 3)
    assert np.array_equal(square, scorer.square(pixels))
