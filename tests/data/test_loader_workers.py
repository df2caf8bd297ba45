"""Loader workers: as many as shared memory has room for, and a sentence where one dies."""

from __future__ import annotations

import os
import signal
from typing import Any

import numpy as np
import pytest
import torch

from melanoma.data import loader_workers
from melanoma.data.batches import BatchLoader, Plan, load_batches
from melanoma.data.loader_workers import fit_workers, resolve_workers
from melanoma.errors import MelanomaError, StorageError
from melanoma.types import Integers

pytestmark = pytest.mark.slow  # it trains, serves or reads photographs

PLANS = [Plan(np.arange(n, n + 2)) for n in range(6)]


class Pixels:
    """Rows of 8 x 8 pixels; in a worker, `ending` is done with the third batch."""

    def __init__(self, ending: Any = None) -> None:
        self.ending, self.home = ending, os.getpid()

    def rows(self, rows: Integers) -> np.ndarray[Any, Any]:
        if self.ending is not None and os.getpid() != self.home and 3 in rows:
            self.ending()
        return np.full((len(rows), 8, 8, 3), rows[0], np.uint8)


def free(count: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader_workers, "free_shared_bytes", lambda: count)


def test_a_cpu_keeps_its_cores_for_training_unless_told_otherwise() -> None:
    assert resolve_workers("auto", torch.device("cpu")) == 0
    assert resolve_workers(3, torch.device("cpu")) == 3
    assert 1 <= resolve_workers("auto", torch.device("cuda")) <= 16


@pytest.mark.parametrize(
    ("room", "workers"), [(None, 4), (10**9, 4), (25_000_000, 4), (15_000_000, 2), (5_000_000, 0)]
)
def test_workers_are_as_many_as_shared_memory_has_room_for(
    room: int | None, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four batches of a megabyte each in advance, two in use; a fifth of the room stays free."""
    free(room, monkeypatch)
    notes: list[str] = []
    assert fit_workers(4, 1_000_000, say=notes.append) == workers
    assert len(notes) == (workers < 4)
    if notes:
        assert f"has {room / 1e6:,.1f} MB free, and 4 loader workers need 18.0 MB" in notes[0]
        assert f"training with {workers} " in notes[0] and "--shm-size" in notes[0]


def test_no_workers_need_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    free(0, monkeypatch)
    assert fit_workers(0, 1_000_000) == 0


def test_a_loader_without_room_gives_the_same_batches_by_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    free(1_000, monkeypatch)
    notes: list[str] = []
    loader = BatchLoader(Pixels(), workers=2, say=notes.append)
    assert [int(batch.pixels[0, 0, 0, 0]) for batch in loader.load(PLANS)] == list(range(6))
    assert len(notes) == 1
    loader.close()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_dead_worker_ends_the_pass_with_a_sentence() -> None:
    with pytest.raises(MelanomaError, match=r"a loader worker has died .*the same command resumes"):
        list(load_batches(Pixels(die), PLANS, workers=1))


def test_a_batch_without_room_ends_the_pass_and_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_room(_: torch.Tensor) -> torch.Tensor:
        raise RuntimeError(
            "unable to allocate shared memory(shm) for file </torch_1>: No space (28)"
        )

    monkeypatch.setattr(torch.Tensor, "share_memory_", no_room)
    with pytest.raises(StorageError, match=r"no room in /dev/shm.*training.workers=0"):
        list(load_batches(Pixels(), PLANS, workers=1))


def test_other_errors_stay_what_they_are() -> None:
    def fail() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        list(load_batches(Pixels(fail), PLANS, workers=1))
