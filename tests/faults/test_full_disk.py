"""Row 44: a disk that is full, at the start or in the middle, is exit 6 with path and bytes.

A limit on a file's size stands in for a full disk where one is needed: it can be had anywhere.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_disk import files_of_at_most

from melanoma import storage, train
from melanoma.data.array_build import build_array
from melanoma.data.npy_file import NpyFile
from melanoma.data.partial_array import PartialArray
from melanoma.data.readers.reader_catalog import read_lesions
from melanoma.data.readers.table import LesionTable
from melanoma.errors import DiskError
from melanoma.recipe.data_sections import SiimData
from melanoma.recipe.sections import Image
from melanoma.storage import write_atomic, write_text
from melanoma.training import fit

SMALL = Image(size=32)
ROW = 32 * 32 * 3
Door = Callable[..., Any]
SAID = r"\([\d,]+ bytes free, (more than )?[\d,]+ needed\)"


@pytest.fixture
def table(phantom_set: Path) -> LesionTable:
    return read_lesions(phantom_set, SiimData(reader="siim"))


def stops(items: Iterable[Any], **_: Any) -> Iterator[Any]:
    yield next(iter(items))
    raise KeyboardInterrupt


def test_prepare_says_at_its_first_image_that_the_disk_is_full(
    call_door: Door, phantom_set: Path, tiny_recipe: Any, tmp_path: Path
) -> None:
    with files_of_at_most(30 * ROW):
        answer = call_door("prepare", "--config", tiny_recipe(), "--data", phantom_set)
    assert answer.code == 6, answer.err
    line = answer.err.splitlines()[-1]
    assert line.startswith("error: cannot write arrays/x_train_32.npy.part: ")
    assert re.search(rf"bytes free, {60 * ROW + 128:,} needed", line)
    assert not list((tmp_path / "arrays").glob("x_*"))


def test_the_room_of_an_array_is_taken_before_its_first_row(
    table: LesionTable, tmp_path: Path
) -> None:
    """A file with holes finds out later, and a process that maps it then ends with SIGBUS."""
    with pytest.raises(KeyboardInterrupt):
        build_array(table, tmp_path, SMALL, progress=stops)
    assert (tmp_path / "x_train_32.npy.part").stat().st_blocks * 512 >= 60 * ROW


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS])
def test_where_room_cannot_be_taken_a_write_in_the_middle_says_it(
    number: int, table: LesionTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(storage.os, "posix_fallocate", unsupported)
    with (
        files_of_at_most(30 * ROW),
        pytest.raises(DiskError, match=rf"x_train_32\.npy\.part: .*{SAID}"),
    ):
        build_array(table, tmp_path, SMALL)
    # With room again, it goes on or begins again, and all is there.
    assert len(build_array(table, tmp_path, SMALL)) == 60


def test_a_build_that_goes_on_needs_no_room_that_it_has_already(
    table: LesionTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeyboardInterrupt):
        build_array(table, tmp_path, SMALL, progress=stops)
    free = shutil.disk_usage(tmp_path)._replace(free=20 * ROW)
    monkeypatch.setattr(storage.shutil, "disk_usage", lambda _: free)
    assert len(build_array(table, tmp_path, SMALL)) == 60


def test_leaving_images_out_makes_no_second_copy(
    table: LesionTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = build_array(table, tmp_path / "whole", SMALL)
    table.frame.loc[[0, 7, 59], "source"] = ""
    large: list[str] = []
    commit = PartialArray.commit

    def listed(work: PartialArray, record: dict[str, Any]) -> None:
        files = work.path.parent.iterdir()
        large.extend(path.name for path in files if path.stat().st_size > 20 * ROW)
        commit(work, record)

    monkeypatch.setattr(PartialArray, "commit", listed)
    array = build_array(table, tmp_path / "own", SMALL, skip_bad=0.1)
    assert large == ["x_train_32.npy.part"]
    kept = [row for row in range(60) if row not in (0, 7, 59)]
    assert np.array_equal(np.load(array.path), np.load(whole.path)[kept])
    assert array.row_digests == tuple(whole.row_digests[row] for row in kept)


@pytest.mark.parametrize("moved", [1, 20])
def test_a_kill_while_rows_move_up_leaves_what_a_second_build_finishes(
    moved: int, table: LesionTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = table.frame["source"].tolist()
    table.frame.loc[7, "source"] = ""
    whole = build_array(table, tmp_path / "whole", SMALL, skip_bad=0.1)
    read, moves = NpyFile.read, iter(range(10**6))

    def killed(file: NpyFile, row: int) -> bytes:
        if next(moves) == moved:
            raise SystemExit
        return read(file, row)

    with monkeypatch.context() as patched:
        patched.setattr(NpyFile, "read", killed)
        with pytest.raises(SystemExit):
            build_array(table, tmp_path / "own", SMALL, skip_bad=0.1)
    assert not (tmp_path / "own/x_train_32.npy").exists()
    again = build_array(table, tmp_path / "own", SMALL, skip_bad=0.1)
    assert again.digest == whole.digest
    assert again.path.read_bytes() == whole.path.read_bytes()
    # And the image that was left out can be had after all.
    table.frame["source"] = expected
    assert len(build_array(table, tmp_path / "all", SMALL)) == 60


# Training.


def test_train_asks_for_the_room_of_three_states_and_the_weights(
    call_door: Door, phantom_set: Path, tiny_recipe: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(1)
    recipe = tiny_recipe(
        model={"backbone": "tiny_resnet"}, training={"ema_decay": 0.9, "epochs": 3}
    )
    command = ["train", "--config", recipe, "--data", phantom_set, "--fold", "0"]
    asked: list[int] = []
    hold = fit.hold

    def noted(folder: Path, *, needed: int) -> Any:
        asked.append(needed)
        return hold(folder, needed=needed)

    def say(record: dict[str, Any]) -> None:
        if record["epoch"] == 2:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(fit, "hold", noted)
    with monkeypatch.context() as patched:
        patched.setattr(train, "_say_epoch", say)
        assert call_door(*command, "--device", "cpu").code == 130
    states = [path.stat().st_size for path in Path("weights/tiny/fold_0").glob("state-*.pt")]
    # Buffers and names make a state a little larger than its parameters.
    assert asked[0] >= 0.97 * 3 * max(states)
    free = shutil.disk_usage(".")._replace(free=asked[0] - sum(states) - 1)
    with monkeypatch.context() as patched:
        patched.setattr(storage.shutil, "disk_usage", lambda _: free)
        answer = call_door(*command, "--device", "cpu")
    assert answer.code == 6, answer.err
    assert f"weights/tiny/fold_0: {free.free:,} bytes free, {free.free + 1:,} needed" in answer.err
    # A finished fold needs none.
    assert call_door(*command, "--device", "cpu").code == 0
    free = free._replace(free=0)
    monkeypatch.setattr(storage.shutil, "disk_usage", lambda _: free)
    assert call_door(*command, "--device", "cpu").code == 0
    assert asked[-1] == 0


# One place for all.


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG])
@pytest.mark.parametrize("named", [True, False])
def test_whatever_meets_a_full_disk_ends_a_door_with_path_and_bytes(
    number: int, named: bool, call_door: Door, tmp_path: Path, tiny_recipe: Any, monkeypatch: Any
) -> None:
    def full(*_: Any, **__: Any) -> None:
        name = [str(tmp_path / "there.npy")] if named else []
        raise OSError(number, os.strerror(number), *name)

    monkeypatch.setattr("melanoma.workflows.prepare.prepare_array", full)
    answer = call_door("prepare", "--config", tiny_recipe())
    assert answer.code == 6, answer.err
    where = tmp_path / "there.npy" if named else "."
    assert re.search(rf"error: cannot write {where}: {os.strerror(number)} {SAID}", answer.err)


def test_an_atomic_write_says_how_much_it_needed(tmp_path: Path) -> None:
    with files_of_at_most(1000), pytest.raises(DiskError, match=r"bytes free, 5,000 needed"):
        write_text(tmp_path / "a.txt", "x" * 5000)

    def pieces(file: Any) -> None:
        for _ in range(5):
            file.write(b"x" * 400)
            file.flush()

    with files_of_at_most(1000), pytest.raises(DiskError, match=r"more than 1,000 needed"):
        write_atomic(tmp_path / "b.bin", pieces)
    assert not list(tmp_path.iterdir())


def test_a_write_removes_what_a_killed_one_left_and_no_live_one(tmp_path: Path) -> None:
    left, live, other = (tmp_path / f".{name}.tmp" for name in ("a[1].csv.7", "a[1].csv.8", "b.7"))
    for path in (left, live, other):
        path.touch()
    for path in (left, other):
        os.utime(path, (1, 1))
    write_text(tmp_path / "a[1].csv", "x")
    assert sorted(tmp_path.iterdir()) == sorted([tmp_path / "a[1].csv", live, other])


def test_a_file_in_a_folders_place_is_no_full_disk(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(storage.StorageError) as refusal:
        write_text(tmp_path / "file/a.txt", "x")
    assert not isinstance(refusal.value, DiskError)


def test_a_read_only_disk_is_said_of_the_file_that_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There the removal of what could not be made fails as well, in the temporary file's name."""

    def refuse(path: Path, *_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    for call in ("open", "unlink"):
        monkeypatch.setattr(Path, call, refuse)
    with pytest.raises(DiskError, match=re.escape(f"cannot write {tmp_path / 'a.txt'}: Read-only")):
        write_text(tmp_path / "a.txt", "x")


def test_a_folder_that_is_full_keeps_nothing_of_the_look_at_it(tmp_path: Path) -> None:
    with files_of_at_most(0), pytest.raises(DiskError):
        storage.ensure_writable(tmp_path)
    assert not list(tmp_path.iterdir())
