"""SIGINT and SIGTERM, noticed between batches, so that the state is saved before the end."""

from __future__ import annotations

import signal
import threading
import types
from collections.abc import Iterator
from contextlib import contextmanager


class Interruption:
    """Which signal arrived, if any."""

    def __init__(self) -> None:
        self.signal_number: int | None = None

    def _notice(self, number: int, _: types.FrameType | None) -> None:
        if self.signal_number is not None:
            # The second one is meant: stop at once, without saving.
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self.signal_number = number

    @classmethod
    @contextmanager
    def watch(cls) -> Iterator[Interruption]:
        """Notice SIGINT and SIGTERM until the block ends; in the main thread, which alone can."""
        interruption = cls()
        if threading.current_thread() is not threading.main_thread():
            yield interruption
            return
        watched = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, interruption._notice) for number in watched}
        try:
            yield interruption
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
