"""An array is used while its files are what it was made from, and found where it was moved."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture
from refusals import Door, require_refusal

from melanoma.data import file_states
from melanoma.data.array_build import adopt_array, build_array
from melanoma.data.find_array import find_array, require_same_files, require_same_rows
from melanoma.data.phantoms.dataset import make_phantoms
from melanoma.data.readers.reader_catalog import read_lesions
from melanoma.data.readers.table import LesionTable
from melanoma.errors import DataError
from melanoma.recipe.data_sections import SiimData
from melanoma.recipe.sections import Image

SMALL = Image(size=32)
SIIM = SiimData(reader="siim")
OPTIONS = ("--set", "image.size=32", "--arrays", "arrays")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    make_phantoms(folder, images=20, patients=8, size=40, seed=0)
    return folder


@pytest.fixture
def table(drawn: Path, tmp_path: Path) -> LesionTable:
    shutil.copytree(drawn, tmp_path / "data")
    return read_lesions(tmp_path / "data", SIIM)


def image_file(table: LesionTable, row: int) -> Path:
    return table.folder / str(table.frame["source"][row])


def replace(path: Path, data: bytes) -> None:
    """As an editor, or cp, does."""
    path.write_bytes(data)


def same_size(path: Path) -> bytes:
    """Other bytes, as many, that decode to other pixels or to the same."""
    data = bytearray(path.read_bytes())
    data[-40] ^= 1
    return bytes(data)


def with_old_times(path: Path) -> None:
    """Other bytes under the size and the time of change of the first, as cp -p leaves them."""
    stat, data = path.stat(), same_size(path)
    path.unlink()
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


CHANGES: dict[str, Callable[[Path], None]] = {
    "other size": lambda path: replace(path, path.read_bytes() + b"\0" * 9),
    "other content of the same size": lambda path: replace(path, same_size(path)),
    "times put back": with_old_times,
}


@pytest.mark.parametrize("change", CHANGES)
def test_case_27_a_replaced_file_is_refused_with_its_name(
    change: str, table: LesionTable, call_door: Door
) -> None:
    options = ("--data", table.folder, *OPTIONS)
    assert call_door("prepare", *options).code == 0
    assert call_door("prepare", *options).code == 0
    CHANGES[change](image_file(table, 7))
    said = require_refusal(call_door("prepare", *options), 3, "1 of 20 image files have changed")
    assert f"({table.names[7]}: " in said
    assert "rm arrays/x_train_32.npy arrays/x_train_32.json" in said


def test_only_files_of_other_times_are_read_and_then_they_are_known(
    table: LesionTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_array(table, tmp_path, SMALL)
    read: list[Path] = []
    digest = file_states.sha256_of

    def counted(path: Path) -> str:
        read.append(path)
        return digest(path)

    monkeypatch.setattr(file_states, "sha256_of", counted)
    for expected in (0, 2, 0):
        array = find_array(tmp_path, SMALL, data=table.folder)
        assert array is not None
        require_same_files(array, table, tmp_path)
        assert len(read) == expected
        read.clear()
        if expected == 0:
            later = time.time_ns() + 10**9
            for row in (3, 5):
                os.utime(image_file(table, row), ns=(later, later))


def test_a_large_data_set_that_was_copied_with_its_times_is_not_read(
    table: LesionTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = build_array(table, tmp_path, SMALL)
    shutil.copytree(table.folder, tmp_path / "copy")  # copies times, too
    copy = read_lesions(tmp_path / "copy", SIIM)
    monkeypatch.setattr(file_states, "MUCH", 0)
    said: list[str] = []
    with monkeypatch.context() as unread:
        unread.setattr(file_states, "sha256_of", None)
        require_same_files(array, copy, tmp_path, say=said.append)
    assert said == []
    for row in (3, 5):
        os.utime(image_file(copy, row))
    require_same_files(array, copy, tmp_path, say=said.append)
    assert said == ["reading 2 image files again: their times have changed"]


def test_files_that_are_gone_are_said_and_the_array_has_them(
    table: LesionTable, tmp_path: Path
) -> None:
    array = build_array(table, tmp_path, SMALL)
    image_file(table, 4).unlink()
    for now in (table, read_lesions(table.folder, SIIM)):
        said: list[str] = []
        require_same_files(array, now, tmp_path, say=said.append)
        assert len(said) == 1
        assert f"1 image files of {array.path} are gone ({table.names[4]})" in said[0]


def test_an_array_of_before_digests_were_kept_compares_sizes_and_says_so(
    table: LesionTable, tmp_path: Path
) -> None:
    build_array(table, tmp_path, SMALL)
    path = tmp_path / "x_train_32.json"
    record = json.loads(path.read_text())
    del record["files"]
    path.write_text(json.dumps(record))
    array = find_array(tmp_path, SMALL, data=table.folder)
    assert array is not None
    said: list[str] = []
    require_same_files(array, table, tmp_path, say=said.append)
    assert "knows no digests of its image files" in said[0]
    CHANGES["other size"](image_file(table, 0))
    with pytest.raises(DataError, match="1 of 20 image files have changed"):
        require_same_files(array, table, tmp_path)


def test_a_cut_build_reads_again_what_was_replaced_meanwhile(
    table: LesionTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(items: Any, **_: Any) -> Any:
        for number, item in enumerate(items):
            if number == 15:
                raise KeyboardInterrupt
            yield item

    monkeypatch.setattr("melanoma.data.partial_array._SAVE_EVERY", 10)
    with pytest.raises(KeyboardInterrupt):
        build_array(table, tmp_path / "cut", SMALL, progress=cut)
    shutil.copy(image_file(table, 19), image_file(table, 2))
    resumed = build_array(table, tmp_path / "cut", SMALL)
    assert resumed.digest == build_array(table, tmp_path / "whole", SMALL).digest


def test_rows_that_differ_are_counted_and_named(table: LesionTable, tmp_path: Path) -> None:
    array = build_array(table, tmp_path, SMALL)
    fewer = LesionTable(table.frame[2:].reset_index(drop=True), table.folder)
    with pytest.raises(DataError, match=rf"2 rows .*{table.names[0]} in the array alone.*: rm "):
        require_same_rows(array, fewer, tmp_path)
    turned = LesionTable(table.frame[::-1].reset_index(drop=True), table.folder)
    with pytest.raises(DataError, match=rf"20 rows .*\({table.names[-1]} where {table.names[0]} w"):
        require_same_rows(array, turned, tmp_path)


# Adopted arrays.


@pytest.fixture
def kaggle(table: LesionTable, tmp_path: Path) -> LesionTable:
    """The table with an array of another program, and without photographs."""
    built = build_array(table, tmp_path / "made", SMALL)
    shutil.copy(built.path, table.folder / "x_train_32.npy")
    shutil.rmtree(table.folder / "jpeg")
    (table.folder / "test.csv").unlink()
    return read_lesions(table.folder, SIIM)


def test_case_12_a_moved_array_is_adopted_anew(
    kaggle: LesionTable, call_door: Door, tmp_path: Path
) -> None:
    assert call_door("prepare", "--data", kaggle.folder, *OPTIONS).code == 0
    there = tmp_path / "mounted" / "elsewhere"
    there.parent.mkdir()
    kaggle.folder.rename(there)
    answer = call_door("prepare", "--data", there, *OPTIONS)
    assert answer.code == 0, answer.err
    assert f"is gone; adopted anew from {there}/x_train_32.npy" in answer.err
    assert "adopted anew" not in call_door("prepare", "--data", there, *OPTIONS).err
    answer = call_door("split", "--data", there, *OPTIONS, "--out", "f.csv", "--set", "folds.k=2")
    assert "joined: " in answer.out, answer.err


def test_a_moved_array_of_other_pixels_is_refused(kaggle: LesionTable, tmp_path: Path) -> None:
    given = kaggle.folder / "x_train_32.npy"
    adopt_array(given, kaggle, tmp_path / "arrays", SMALL, channels="rgb")
    there = tmp_path / "there"
    there.mkdir()
    pixels = np.load(given)
    pixels[5] ^= 1
    np.save(there / given.name, pixels)
    # Beside the one that was adopted, and in its place.
    for _ in range(2):
        with pytest.raises(DataError, match=r"1 of 20 rows are not the pixels that were recorded"):
            find_array(tmp_path / "arrays", SMALL, data=there)
        given.unlink(missing_ok=True)
    with pytest.raises(DataError, match=r"was adopted, is gone.*--data.*rm .*x_train_32\.json"):
        find_array(tmp_path / "arrays", SMALL, data=tmp_path)


def test_an_own_array_that_was_removed_is_made_again(
    table: LesionTable, call_door: Door, tmp_path: Path
) -> None:
    options = ("--data", table.folder, *OPTIONS)
    assert call_door("prepare", *options).code == 0
    whole = (tmp_path / "arrays/x_train_32.npy").read_bytes()
    (tmp_path / "arrays/x_train_32.npy").unlink()
    answer = call_door("prepare", *options)
    assert answer.code == 0, answer.err
    assert "its record arrays/x_train_32.json alone is left" in answer.err
    assert (tmp_path / "arrays/x_train_32.npy").read_bytes() == whole


def test_an_array_that_was_adopted_in_another_order_of_channels_is_refused(
    kaggle: LesionTable, call_door: Door
) -> None:
    options = ("--data", kaggle.folder, *OPTIONS)
    assert call_door("prepare", *options).code == 0
    answer = call_door("prepare", *options, "--set", "data.array_channels=bgr")
    require_refusal(answer, 3, "was adopted as rgb, data.array_channels says bgr; to adopt it anew")


def test_an_adopted_array_s_table_may_not_be_sorted_anew(
    kaggle: LesionTable, tmp_path: Path
) -> None:
    """Its rows are known by the order that the table had, and by nothing else."""
    path = kaggle.folder / "x_train_32.npy"
    array = adopt_array(path, kaggle, tmp_path, SMALL, channels="rgb")
    require_same_files(array, kaggle, tmp_path)
    fewer = LesionTable(kaggle.frame[3:].reset_index(drop=True), kaggle.folder)
    require_same_files(array, fewer, tmp_path)
    turned = LesionTable(kaggle.frame[::-1].reset_index(drop=True), kaggle.folder)
    said = rf"20 rows of .* \({kaggle.names[-1]} where {kaggle.names[0]} was"
    with pytest.raises(DataError, match=said):
        require_same_files(array, turned, tmp_path)


# What the decoder warns of.


def test_those_who_train_are_told_what_the_decoder_could_not_heed(
    table: LesionTable, call_door: Door
) -> None:
    """Case 05 at training: a bundle's pixels are warned of as an upload's are."""
    for row in (2, 5):
        picture = Picture.open(image_file(table, row))
        picture.save(image_file(table, row), icc_profile=b"no profile")
    names = f"{table.names[2]}, {table.names[5]}"
    said = "warning: 2 images have the warning ignored_color_profile (the colors are as stored"
    for door in ("check", "prepare"):
        options = OPTIONS if door == "prepare" else OPTIONS[:2]
        answer = call_door(door, "--data", table.folder, *options)
        assert answer.code == 0, answer.err
        [line] = [
            one for one in (answer.out + answer.err).splitlines() if "have the warning" in one
        ]
        assert line.startswith(said)
        assert line.endswith(f": {names}")


def test_images_without_a_row_are_named_by_prepare(table: LesionTable, call_door: Door) -> None:
    extra = image_file(table, 0).with_name("extra.jpg")
    shutil.copy(image_file(table, 0), extra)
    answer = call_door("prepare", "--data", table.folder, *OPTIONS)
    assert answer.code == 0, answer.err
    said = "note: 1 images have no row in the table and are not read: jpeg/train/extra.jpg"
    assert said in answer.err
