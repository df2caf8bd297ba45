"""What a command was told of its data is written into the records of an array and a fold file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from melanoma.data.arrays import ImageArray
from melanoma.data.fold_record import record_file
from melanoma.workflows.remember import remember_options

BASE = {"reader": "siim"}
OPTIONS = ["data.reader=csv_folder", "data.image_col=file", "data.image_col=file"]
KEPT = {"base": BASE, "given": OPTIONS[:2]}
RECORD = {
    "array": "x_train_32.npy",
    "fit": "squash",
    "channels": "rgb",
    "skipped": [],
    "names": ["a"],
    "row_digests": [""],
}


@pytest.fixture
def array(tmp_path: Path) -> ImageArray:
    (tmp_path / "x_train_32.json").write_text(json.dumps(RECORD))
    return ImageArray(tmp_path / "x_train_32.npy", 32, ("a",), ("",))


@pytest.fixture
def folds(tmp_path: Path) -> Path:
    path = tmp_path / "folds.csv"
    record_file(path).write_text('{"folds": "digest"}')
    return path


def record(path: Path) -> Any:
    return json.loads(path.read_text())


def test_both_records_keep_the_options_beside_what_they_had(
    array: ImageArray, folds: Path, tmp_path: Path
) -> None:
    remember_options(array, tmp_path, BASE, OPTIONS, folds=folds)
    assert record(tmp_path / "x_train_32.json") == {**RECORD, "options": KEPT}
    assert record(record_file(folds)) == {"folds": "digest", "options": KEPT}


def test_without_options_an_earlier_command_s_stay(
    array: ImageArray, folds: Path, tmp_path: Path
) -> None:
    remember_options(array, tmp_path, BASE, [], folds=folds)
    assert record(record_file(folds)) == {"folds": "digest"}, "nothing was said, nothing is kept"
    remember_options(array, tmp_path, BASE, OPTIONS, folds=folds)
    remember_options(array, tmp_path, {}, [], folds=folds)
    for path in (tmp_path / "x_train_32.json", record_file(folds)):
        assert record(path)["options"] == KEPT
    remember_options(None, tmp_path, BASE, ["data.image_col=b"], folds=folds)
    assert record(record_file(folds))["options"]["given"] == ["data.image_col=b"]
    assert record(tmp_path / "x_train_32.json")["options"] == KEPT, "of no array nothing is said"


def test_a_record_that_says_the_same_already_is_not_written_anew(
    array: ImageArray, folds: Path, tmp_path: Path
) -> None:
    remember_options(array, tmp_path, BASE, OPTIONS, folds=folds)
    paths = (tmp_path / "x_train_32.json", record_file(folds))
    before = [path.stat().st_ino for path in paths]
    remember_options(array, tmp_path, BASE, OPTIONS, folds=folds)
    assert [path.stat().st_ino for path in paths] == before


@pytest.mark.parametrize("damage", ["absent", "", "[]"])
def test_a_fold_file_without_a_sound_record_gets_none(folds: Path, damage: str) -> None:
    path = record_file(folds)
    path.unlink() if damage == "absent" else path.write_text(damage)
    remember_options(None, folds.parent, BASE, OPTIONS, folds=folds)
    assert (path.read_text() if path.exists() else "absent") == damage


def test_a_folder_that_cannot_be_written_is_left_as_it_is(
    folds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    remember_options(None, folds.parent, BASE, OPTIONS, folds=folds)
    assert record(record_file(folds)) == {"folds": "digest"}
