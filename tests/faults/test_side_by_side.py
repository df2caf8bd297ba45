"""Two processes and one folder of arrays: the second waits, no image is lost, none is made up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import forked
import numpy as np
import pytest

from melanoma.data import array_build, arrays
from melanoma.data.array_build import adopt_array, build_array
from melanoma.data.array_lock import hold_arrays
from melanoma.data.arrays import ImageArray, load_array
from melanoma.data.readers.reader_catalog import read_lesions
from melanoma.data.readers.table import LesionTable
from melanoma.errors import DataError, StorageError
from melanoma.recipe.data_sections import SiimData
from melanoma.recipe.overrides import load_recipe
from melanoma.recipe.sections import Image
from melanoma.workflows.prepare import prepare_array

SMALL = Image(size=32)
Door = Callable[..., Any]
# Holds the folder until its stdin is closed.
HOLDER = """
import sys
from pathlib import Path
from melanoma.data.array_lock import hold_arrays
with hold_arrays(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def table(phantom_set: Path) -> LesionTable:
    return read_lesions(phantom_set, SiimData(reader="siim"))


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has tmp_path/arrays."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "arrays")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_folder_in_use_is_said_once_and_refused_after_the_wait(
    holder: subprocess.Popen[str], tmp_path: Path
) -> None:
    said: list[str] = []
    folder = tmp_path / "arrays"
    with (
        pytest.raises(StorageError, match="in use by another process for 0 s") as refusal,
        hold_arrays(folder, say=said.append, wait=0.3),
    ):
        raise AssertionError("held twice")
    assert refusal.value.exit_code == 6
    assert said == [f"{folder} is in use by another process; waiting for it"]
    holder.communicate()
    with hold_arrays(folder, say=said.append, wait=0):
        assert len(said) == 1


def test_a_lock_dies_with_its_process(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    holder.kill()
    holder.wait()
    with hold_arrays(tmp_path / "arrays", wait=0):
        pass


def test_nothing_is_built_into_a_folder_in_use(
    holder: subprocess.Popen[str],
    table: LesionTable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("melanoma.data.array_lock.WAIT_SECONDS", 0.1)
    before = sorted((tmp_path / "arrays").iterdir())
    with pytest.raises(StorageError, match="in use"):
        build_array(table, tmp_path / "arrays", SMALL)
    assert sorted((tmp_path / "arrays").iterdir()) == before


def test_an_array_that_is_prepared_needs_no_lock(
    phantom_set: Path,
    tmp_path: Path,
    tiny_recipe: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It may lie on a disk that is read-only."""
    recipe, folder = load_recipe(tiny_recipe()), tmp_path / "arrays"
    made = prepare_array(recipe, phantom_set, folder)
    monkeypatch.setattr("melanoma.data.array_lock.hold_arrays", None)
    assert prepare_array(recipe, phantom_set, folder) == made


def test_two_folds_started_side_by_side_share_one_array_and_one_fold_file(
    phantom_set: Path, tmp_path: Path, tiny_recipe: Callable[..., Path]
) -> None:
    named = {
        "--config": tiny_recipe(training={"epochs": 1}),
        "--data": phantom_set,
        "--arrays": tmp_path / "arrays",
        "--folds": tmp_path / "folds.csv",
        "--weights": tmp_path / "run",
        "--device": "cpu",
    }
    options = [str(part) for pair in named.items() for part in pair]
    logs, started = [tmp_path / f"log_{fold}" for fold in "01"], []
    for fold, log in zip("01", logs, strict=True):
        with log.open("w") as sink:
            started.append(forked.start("-m", "melanoma.train", "--fold", fold, *options, log=sink))
    ended = [process.wait(timeout=300) for process in started]
    said = [log.read_text() for log in logs]
    assert ended == [0, 0], said
    # Either alone would say both.
    assert sum("preparing it" in text for text in said) == 1
    assert sum("splitting" in text for text in said) == 1
    facts = [json.loads((tmp_path / f"run/fold_{n}/run.json").read_text()) for n in (0, 1)]
    for key in ("array_digest", "folds_digest"):
        assert facts[0][key] == facts[1][key]


def test_a_second_prepare_uses_the_array_that_the_first_made_while_it_waited(
    phantom_set: Path,
    tmp_path: Path,
    tiny_recipe: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe, folder = load_recipe(tiny_recipe()), tmp_path / "arrays"

    @contextmanager
    def after_the_first(held: Path, **_: Any) -> Iterator[None]:
        monkeypatch.undo()
        prepare_array(recipe, phantom_set, held)
        monkeypatch.setattr("melanoma.workflows.prepare._make_array", None)
        yield

    monkeypatch.setattr("melanoma.data.array_lock.hold_arrays", after_the_first)
    assert len(prepare_array(recipe, phantom_set, folder)) == 60


# What is not as it was recorded.


def blacken(array: ImageArray, rows: Iterable[int]) -> None:
    pixels = np.load(array.path, mmap_mode="r+")
    for row in rows:
        pixels[row] = 0
    pixels.flush()


def test_black_rows_are_counted_named_and_refused(
    table: LesionTable, tmp_path: Path, call_door: Door, phantom_set: Path, tiny_recipe: Any
) -> None:
    array = build_array(table, tmp_path / "arrays", SMALL)
    blacken(array, range(10, 17))
    named = {"--config": tiny_recipe(), "--data": phantom_set, "--arrays": tmp_path / "arrays"}
    options = [part for pair in named.items() for part in pair]
    for door, more in (
        ("prepare", []),
        ("split", ["--folds", tmp_path / "folds.csv"]),
        ("train", ["--fold", "0", "--weights", tmp_path / "run", "--device", "cpu"]),
    ):
        answer = call_door(door, *options, *more)
        assert answer.code == 3, answer.err
        line = answer.err.splitlines()[-1]
        assert "7 of 60 rows are not the pixels that were recorded" in line
        assert f"10 ({array.names[10]}), 11 ({array.names[11]})" in line
        assert f"rm {array.path} {array.path.with_suffix('.json')}" in line
    assert not (tmp_path / "folds.csv").exists()
    array.path.unlink()
    array.path.with_suffix(".json").unlink()
    assert call_door("prepare", *options).code == 0


def test_one_changed_value_is_enough(table: LesionTable, tmp_path: Path) -> None:
    array = build_array(table, tmp_path, SMALL)
    data = bytearray(array.path.read_bytes())
    data[-1] ^= 1
    array.path.write_bytes(data)
    with pytest.raises(DataError, match=r"1 of 60 rows .*rows 59 "):
        load_array(tmp_path, SMALL)


def test_an_adopted_array_that_changed_is_not_to_be_removed(
    table: LesionTable, tmp_path: Path
) -> None:
    built = build_array(table, tmp_path / "kaggle", SMALL)
    built.path.with_suffix(".json").unlink()
    adopt_array(built.path, table, tmp_path / "arrays", SMALL, channels="rgb")
    assert load_array(tmp_path / "arrays", SMALL) is not None
    blacken(built, [4])
    with pytest.raises(DataError, match="1 of 60 rows") as refusal:
        load_array(tmp_path / "arrays", SMALL)
    assert str(refusal.value).endswith(f"rm {tmp_path / 'arrays/x_train_32.json'}")


def test_swapped_channels_of_an_adopted_array_have_their_own_digests(
    table: LesionTable, tmp_path: Path
) -> None:
    built = build_array(table, tmp_path / "kaggle", SMALL)
    swapped = tmp_path / "kaggle/x_swapped.npy"
    np.save(swapped, np.load(built.path)[..., ::-1])
    adopted = adopt_array(swapped, table, tmp_path / "arrays", SMALL, channels="bgr")
    assert load_array(tmp_path / "arrays", SMALL) == adopted


def test_a_file_is_read_through_once_a_process(
    table: LesionTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = build_array(table, tmp_path, SMALL)
    through: list[Path] = []

    def counted(array: ImageArray) -> list[int]:
        through.append(array.path)
        return differing(array)

    differing = arrays.differing_rows
    monkeypatch.setattr(arrays, "differing_rows", counted)
    for _ in range(3):
        assert load_array(tmp_path, SMALL) == array
    assert len(through) == 1
    # Written again with the same bytes: another file, which is looked at.
    array.path.write_bytes(array.path.read_bytes())
    os.utime(array.path, ns=(time.time_ns(), time.time_ns() + 10**9))
    assert load_array(tmp_path, SMALL) == array
    assert len(through) == 2


# Never over what is there.


def test_an_array_that_another_process_reads_is_not_emptied_under_it(
    table: LesionTable, tmp_path: Path
) -> None:
    """Emptied in place, a map of it ends its process with SIGBUS."""
    array = build_array(table, tmp_path, SMALL)
    mapped = np.load(array.path, mmap_mode="r")
    before = mapped.copy()
    with pytest.raises(KeyboardInterrupt):
        build_array(table, tmp_path, SMALL, progress=interrupted)
    assert np.array_equal(np.load(array.path), before)
    shorter = LesionTable(table.frame[:40].reset_index(drop=True), table.folder)
    assert len(build_array(shorter, tmp_path, SMALL)) == 40
    assert np.array_equal(mapped, before)


def interrupted(items: Iterable[Any], **_: Any) -> Iterator[Any]:
    for number, item in enumerate(items):
        if number == 30:
            raise KeyboardInterrupt
        yield item


def test_rows_that_are_claimed_but_not_there_are_decoded_again(
    table: LesionTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = build_array(table, tmp_path / "whole", SMALL)
    monkeypatch.setattr("melanoma.data.partial_array._SAVE_EVERY", 10)
    folder = tmp_path / "cut"
    with pytest.raises(KeyboardInterrupt):
        build_array(table, folder, SMALL, progress=interrupted)
    partial = folder / "x_train_32.npy.part"
    pixels = np.load(partial, mmap_mode="r+")
    pixels[3] = pixels[17] = 0
    pixels.flush()
    read: list[Path] = []

    def counted(path: Path, **options: Any) -> Any:
        read.append(path)
        return decode(path, **options)

    decode = array_build.read_file_square
    monkeypatch.setattr(array_build, "read_file_square", counted)
    assert build_array(table, folder, SMALL).digest == whole.digest
    assert len(read) == 60 - 30 + 2
    assert (folder / "x_train_32.npy").read_bytes() == whole.path.read_bytes()


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"key": 1}'])
def test_a_damaged_progress_file_is_no_bug(
    damage: str, table: LesionTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("melanoma.data.partial_array._SAVE_EVERY", 10)
    with pytest.raises(KeyboardInterrupt):
        build_array(table, tmp_path, SMALL, progress=interrupted)
    (tmp_path / "x_train_32.part.json").write_text(damage)
    assert len(build_array(table, tmp_path, SMALL)) == 60
    assert load_array(tmp_path, SMALL) is not None
