"""Room for photographs that are being decoded: so many bytes at a time in the whole process.

Sixteen threads that meet sixteen phone photographs would need gigabytes; here they wait for each
other, and small photographs pass the large ones by.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

# Of a pixel: Pillow's four and ours three.
BYTES_A_PIXEL = 7
# What a progressive JPEG takes beside: libjpeg keeps two bytes of every coefficient to the end.
PROGRESSIVE_BYTES_A_PIXEL = 13
# The largest photograph, or three of 16 megapixels.
MAX_BYTES_IN_FLIGHT = 50_000_000 * BYTES_A_PIXEL


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
