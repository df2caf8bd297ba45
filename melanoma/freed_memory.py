"""What becomes of memory that was freed, where it is glibc's: it is kept, or it goes back.

A block that goes back to the system is made of new pages the next time, and each page is a fault
and 4 KB of zeros: for the large blocks of a network's activations more work than the layer itself.
A block that is kept is memory that no other process has.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from melanoma.devices import Device

# Of mallopt(3).
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -3, -4, -8
_MOST_MAPPED = 65_536  # glibc's own
_NEVER = -1
# What glibc learns to keep at most, if it is left alone, and twice that.
_LEARNED_MMAP, _LEARNED_TRIM = 32 << 20, 64 << 20


def give_freed_memory_back() -> None:
    """Have blocks of 8 MB and more go back to the system when they are freed.

    Left alone, glibc learns from the first large photograph to keep such blocks, hundreds of
    megabytes of them, for the life of the process.
    """
    if _set_all(mapped=_MOST_MAPPED, mmap=8 << 20, trim=32 << 20):
        # Threads share two heaps: with one each, what one has freed is of no use to the others.
        _libc().mallopt(_ARENA_MAX, 2)


def keep_freed_memory() -> None:
    """Have every block stay with the process when it is freed, for the next one."""
    _set_all(mapped=0, mmap=_LEARNED_MMAP, trim=_NEVER)


@contextmanager
def freed_memory_kept(device: Device) -> Iterator[None]:
    """keep_freed_memory while it lasts, where the processor does the work; then what is free goes
    back at once."""
    if device.type != "cpu":
        yield
        return
    keep_freed_memory()
    try:
        yield
    finally:
        if _set_all(mapped=_MOST_MAPPED, mmap=_LEARNED_MMAP, trim=_LEARNED_TRIM):
            _libc().malloc_trim(0)


def _set_all(*, mapped: int, mmap: int, trim: int) -> bool:
    """Whether the C library is one that can be told."""
    libc = _libc()
    if libc is None:
        return False
    for option, value in ((_MMAP_MAX, mapped), (_MMAP_THRESHOLD, mmap), (_TRIM_THRESHOLD, trim)):
        libc.mallopt(option, value)
    return True


def _libc() -> Any:
    """The C library of this process where it is glibc, else None."""
    try:
        libc = ctypes.CDLL(None)
        return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None
    except (OSError, TypeError):
        return None
