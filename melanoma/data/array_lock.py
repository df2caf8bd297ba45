"""Having a folder of arrays alone: a second process waits, and then uses what the first made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from melanoma.errors import StorageError
from melanoma.storage import ensure_writable, sweep_temporaries

LOCK = ".lock"
# The lock dies with its process, so that only a process at work is waited for: 33,000 photographs
# of a camera's size take two cores most of an hour.
WAIT_SECONDS = 4 * 3600.0


@contextmanager
def hold_arrays(
    folder: Path, *, say: Callable[[str], None] = lambda _: None, wait: float | None = None
) -> Iterator[None]:
    """Have `folder` alone; it may be held again inside.

    Where another process has it, that is said once and waited for. Raises StorageError after
    `wait` seconds (WAIT_SECONDS where it is not said), or when the folder cannot be written.
    """
    ensure_writable(folder)
    wait = WAIT_SECONDS if wait is None else wait
    # One lock a path in a process: prepare holds it, and so do what prepare calls.
    lock = FileLock(folder / LOCK, is_singleton=True)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say(f"{folder} is in use by another process; waiting for it")
        _wait_for(lock, folder, wait)
    try:
        # What a killed process left: only who holds the lock writes files of these names.
        sweep_temporaries(folder, ".x_*")
        sweep_temporaries(folder, ".probe.*")
        yield
    finally:
        lock.release()


def _wait_for(lock: FileLock, folder: Path, wait: float) -> None:
    try:
        lock.acquire(timeout=wait, poll_interval=0.1)
    except Timeout as error:
        raise StorageError(
            f"{folder} was in use by another process for {wait:,.0f} s; wait for it to end, "
            "or name another --arrays DIR"
        ) from error
