"""The room for decoding: never more pixels in it than fit, and nobody shut out for good."""

from __future__ import annotations

import threading

import pytest

from melanoma.data.decoding_room import DecodingRoom

SECONDS = 20  # only a broken build waits as long


def test_threads_wait_until_their_pixels_fit() -> None:
    room, inside, go = DecodingRoom(10), threading.Semaphore(0), threading.Event()

    def decode(pixels: int) -> None:
        with room.hold(pixels):
            inside.release()
            assert go.wait(SECONDS)

    threads = [threading.Thread(target=decode, args=(pixels,)) for pixels in (6, 4)]
    for thread in threads:
        thread.start()
    assert inside.acquire(timeout=SECONDS)
    assert inside.acquire(timeout=SECONDS)
    late = threading.Thread(target=decode, args=(1,))
    late.start()
    assert not inside.acquire(timeout=0.2)
    go.set()
    assert inside.acquire(timeout=SECONDS)
    for thread in (*threads, late):
        thread.join(SECONDS)
        assert not thread.is_alive()


def test_what_is_larger_than_the_room_goes_in_alone() -> None:
    room = DecodingRoom(10)
    with room.hold(99):
        assert room._free == 0
    assert room._free == 10


def test_an_error_inside_gives_the_room_back() -> None:
    room = DecodingRoom(10)
    with pytest.raises(KeyError), room.hold(7):
        raise KeyError
    assert room._free == 10
