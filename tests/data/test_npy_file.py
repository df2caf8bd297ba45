"""A .npy file that is written row by row: what numpy reads, whole or gone on with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from melanoma.data.npy_file import NpyFile
from melanoma.errors import StorageError

ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)


def opened(path: Path, *, goes_on: bool = False) -> NpyFile:
    file = NpyFile(path, 4, (3,), "<f4")
    file.open(goes_on=goes_on)
    return file


def test_the_file_is_the_one_that_numpy_would_save(tmp_path: Path) -> None:
    file = opened(tmp_path / "own.npy")
    for row in (2, 0, 3, 1):
        file.write(row, ROWS[row].tobytes())
    assert file.read(2) == ROWS[2].tobytes()
    file.sync()
    file.close()
    np.save(tmp_path / "numpy.npy", ROWS)
    assert file.path.read_bytes() == (tmp_path / "numpy.npy").read_bytes()


def test_a_file_that_was_left_is_gone_on_with_and_another_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "own.npy"
    file = opened(path)
    assert path.stat().st_size == file.bytes, "its room was not reserved"
    file.write(0, ROWS[:2].tobytes())
    file.close()
    assert file.is_begun()
    assert not NpyFile(path, 5, (3,), "<f4").is_begun()
    file = opened(path, goes_on=True)
    file.write(2, ROWS[2:].tobytes())
    file.close()
    mapped = np.load(path, mmap_mode="r")
    assert np.array_equal(mapped, ROWS)
    opened(path).close()
    # Another process's map of the old file keeps its bytes.
    assert np.array_equal(mapped, ROWS)
    assert not np.load(path).any()


def test_a_shortened_file_holds_the_first_rows_alone(tmp_path: Path) -> None:
    file = opened(tmp_path / "own.npy")
    file.write(0, ROWS.tobytes())
    file.shorten(3)
    file.close()
    assert np.array_equal(np.load(file.path), ROWS[:3])


def test_a_disk_without_room_is_named_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "own.npy"
    opened(path).close()
    monkeypatch.setattr("melanoma.storage.shutil.disk_usage", lambda _: _Disk())
    with pytest.raises(StorageError, match="10 bytes free, 48 needed"):
        opened(tmp_path / "second.npy")
    assert not (tmp_path / "second.npy").exists()
    opened(path, goes_on=True).close()  # its room is its own already


class _Disk:
    free = 10
