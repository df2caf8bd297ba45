"""Loader workers and the shared memory that their batches pass through, and what ends them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from melanoma.errors import MelanomaError, StorageError

SHARED = Path("/dev/shm")
PREFETCH = 4  # batches that each worker makes in advance
_PART = 0.8  # of what is free: others use it too
_BESIDE = 2  # batches that are being used


def resolve_workers(workers: int | str, device: torch.device) -> int:
    """Worker processes for `auto`: on a CPU none, since they would take the cores that train."""
    if isinstance(workers, int):
        return workers
    return min(16, os.cpu_count() or 1) if device.type == "cuda" else 0


def fit_workers(
    workers: int, batch_bytes: int, *, say: Callable[[str], None] = lambda _: None
) -> int:
    """As many workers as shared memory has room for, 0 where it has none for a single one; says
    when they are fewer."""
    free = free_shared_bytes()
    if not workers or free is None:
        return workers
    each = PREFETCH * batch_bytes
    fitting = max(0, int((_PART * free - _BESIDE * batch_bytes) // each))
    if fitting >= workers:
        return workers
    say(
        f"note: {SHARED} has {_megabytes(free)} free, and {workers} loader workers need "
        f"{_megabytes(workers * each + _BESIDE * batch_bytes)}: training with {fitting} "
        "(docker run --shm-size=1g gives more)"
    )
    return fitting


def free_shared_bytes() -> int | None:
    """Bytes that are free where workers put their batches; None where there is no such place."""
    try:
        return shutil.disk_usage(SHARED).free
    except OSError:
        return None


@contextmanager
def named_worker_errors() -> Iterator[None]:
    """Turns torch's errors of a dead worker, or one without room, into a sentence.

    Torch raises them wherever the process is when a worker dies, not only where a batch is asked
    for.
    """
    try:
        yield
    except RuntimeError as error:
        text = str(error)
        full = "shared memory" in text and "open files" not in text
        if full or "bus error" in text.lower():
            free = free_shared_bytes()
            room = "" if free is None else f" ({_megabytes(free)} free)"
            raise StorageError(
                f"the loader's workers found no room in {SHARED}{room}; --set training.workers=0, "
                "or give it more (docker run --shm-size=1g)"
            ) from error
        if text.startswith("DataLoader worker"):
            raise MelanomaError(
                f"a loader worker has died ({' '.join(text.split())[:200]}); where memory was "
                "short, --set training.workers=0 needs less; the same command resumes"
            ) from error
        raise


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"
