"""Room for photographs that are being decoded: so many bytes at a time in the whole process.

Sixteen threads that meet sixteen phone photographs would need gigabytes; here they wait for each
other, and small photographs pass the large ones by.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# Of a pixel: Pillow's four and ours three.
BYTES_A_PIXEL = 7
# What a progressive JPEG takes beside: libjpeg keeps two bytes of every coefficient to the end.
PROGRESSIVE_BYTES_A_PIXEL = 13
# The largest photograph, or three of 16 megapixels.
MAX_BYTES_IN_FLIGHT = 50_000_000 * BYTES_A_PIXEL

_MMAP_THRESHOLD, _TRIM_THRESHOLD, _ARENA_MAX = -3, -1, -8  # of mallopt(3)


class DecodingRoom:
    """Lets threads in while their bytes fit; one that is larger than all of it goes in alone."""

    def __init__(self, size: int) -> None:
        self._size = self._free = size
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, size: int) -> Iterator[None]:
        """Waits for room, and gives it back at the end."""
        taken = min(size, self._size)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= taken)
            self._free -= taken
        try:
            yield
        finally:
            with self._changed:
                self._free += taken
                self._changed.notify_all()


ROOM = DecodingRoom(MAX_BYTES_IN_FLIGHT)


def give_freed_memory_back() -> None:
    """Have blocks of 8 MB and more go back to the system when they are freed, where it is glibc.

    Left alone, it learns from the first large photograph to keep such blocks, hundreds of
    megabytes of them, for the life of the process.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(_MMAP_THRESHOLD, 8 << 20)
    mallopt(_TRIM_THRESHOLD, 32 << 20)
    # Threads share two heaps: with one each, what one has freed is of no use to the others.
    mallopt(_ARENA_MAX, 2)
