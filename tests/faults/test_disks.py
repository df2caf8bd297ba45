"""Row 44 of shared/faults.md: places that cannot be written, full disks, folders in use."""

from __future__ import annotations

import os
import resource
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from refusals import interrupt_after, require_refusal

from melanoma import train
from melanoma.data.npy_file import NpyFile
from melanoma.storage import write_text
from melanoma.training.run.run_folder import hold

Door = Callable[..., Any]
Recipes = Callable[..., Path]


@pytest.mark.parametrize("place", ["/dev/full/x", "a file/x", "/proc/nothing"])
def test_a_place_that_cannot_be_written_is_named_before_training(
    place: str, call_door: Door, options: list[str | Path]
) -> None:
    Path("a file").write_text("")
    answer = call_door("train", *options, "--fold", "0", "--weights", place)
    require_refusal(answer, 6, f"cannot write {place}/fold_0: ", " bytes free, ", " needed)")
    assert "epoch" not in answer.err


def test_prepare_and_split_name_a_place_that_cannot_be_written(
    call_door: Door, options: list[str | Path], phantom_set: Path
) -> None:
    Path("a file").write_text("")
    given = ["--config", options[1], "--data", phantom_set]
    require_refusal(call_door("prepare", *given, "--arrays", "a file/x"), 6, "a file/x")
    require_refusal(call_door("split", *given, "--out", "a file/x.csv"), 6, "a file/x.csv")
    require_refusal(call_door("split", *given, "--out", "/dev/full/x.csv"), 6, "/dev/full/x.csv")


def test_too_little_room_is_found_before_training(
    call_door: Door, options: list[str | Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1_000)
    monkeypatch.setattr("melanoma.storage.shutil.disk_usage", lambda _: usage)
    answer = call_door("train", *options, "--fold", "0", "--weights", "run")
    require_refusal(answer, 6, "run/fold_0: 1,000 bytes free, ", " needed; make room")
    assert "epoch" not in answer.err


def test_a_disk_that_fills_up_leaves_the_previous_state_whole(
    interrupted: Path,
    call_door: Door,
    options: list[str | Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The limit on a file's size stands in for a full disk; it strikes in the middle of a file."""
    command = ["train", *options, "--fold", "0", "--weights", "run"]
    before = {path: path.read_bytes() for path in interrupted.glob("state*")}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with monkeypatch.context() as patched:
        patched.setattr(train, "_say_epoch", interrupt_after(2, signal.SIGTERM))
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, hard))
            answer = call_door(*command)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    require_refusal(answer, 6, f"cannot write {Path('run/fold_0/')}", "bytes free")
    assert {path: path.read_bytes() for path in interrupted.glob("state*")} == before
    assert not list(interrupted.glob(".*.tmp"))
    answer = call_door(*command)
    assert answer.code == 0, answer.err
    assert "resuming at epoch 2" in answer.err


def test_a_folder_in_use_is_refused(call_door: Door, options: list[str | Path]) -> None:
    with hold(Path("run/fold_0"), needed=0):
        answer = call_door("train", *options, "--fold", "0", "--weights", "run")
    require_refusal(answer, 6, "run/fold_0 is in use by another process", "--weights DIR")


def test_a_file_is_on_the_disk_before_it_takes_its_name_and_the_name_before_it_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a power cut would leave no test can see; the order of the calls is seen instead."""
    done: list[str] = []
    replace = Path.replace

    def flushed(descriptor: int) -> None:
        kept = Path(f"/proc/self/fd/{descriptor}").readlink()
        size = os.fstat(descriptor).st_size
        done.append("the folder" if kept == tmp_path else f"{size} bytes")

    def renamed(path: Path, target: Path) -> Path:
        done.append("the name")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(Path, "replace", renamed)
    write_text(tmp_path / "a.txt", "what counts")
    assert done == ["11 bytes", "the name", "the folder"]
    done.clear()
    file = NpyFile(tmp_path / "a.npy", 3, (4,), "u1")
    file.open(goes_on=False)
    file.write(1, b"abcd")
    file.sync()
    file.close()
    assert done == [f"{file.bytes} bytes"]
