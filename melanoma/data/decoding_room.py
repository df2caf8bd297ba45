"""Room for photographs that are being decoded: so many pixels at a time in the whole process.

A decode takes 7 to 12 bytes a pixel. Sixteen threads that meet sixteen phone photographs would
need gigabytes; here they wait for each other, and small photographs pass the large ones by.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

# The largest photograph beside two of 16 megapixels, which is what the service decodes at a time.
MAX_PIXELS_IN_FLIGHT = 84_000_000


class DecodingRoom:
    """Lets threads in while their pixels fit; one that is larger than all of it goes in alone."""

    def __init__(self, pixels: int) -> None:
        self._size = self._free = pixels
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, pixels: int) -> Iterator[None]:
        """Waits for room, and gives it back at the end."""
        taken = min(pixels, self._size)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= taken)
            self._free -= taken
        try:
            yield
        finally:
            with self._changed:
                self._free += taken
                self._changed.notify_all()


ROOM = DecodingRoom(MAX_PIXELS_IN_FLIGHT)
