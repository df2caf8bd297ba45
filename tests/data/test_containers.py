"""Photographs inside of HDF5 files and TFRecords: the same squares as from files of their own."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
from tfrecord import TFRecordWriter

from melanoma.data.containers import hdf5_keys, read_member, split_member, tfrecords
from melanoma.errors import DataError
from melanoma.recipe.overrides import make_recipe
from melanoma.recipe.recipe import Recipe
from melanoma.workflows.prepare import prepare_array

ROWS = 12


def recipe_of(reader: str) -> Recipe:
    values: dict[str, Any] = {
        "name": "r",
        "data": {"reader": reader},
        "image": {"size": 32},
        "folds": {"name": "f", "k": 2},
        "model": {"backbone": "resnet18"},
    }
    return make_recipe(values)


@pytest.fixture(scope="module")
def table(phantom_set: Path) -> pd.DataFrame:
    """The phantoms' first rows and some melanomas."""
    frame = pd.read_csv(phantom_set / "train.csv")
    some = pd.concat([frame[frame["target"] == 1].head(4), frame[frame["target"] == 0].head(8)])
    return some.reset_index(drop=True)


@pytest.fixture
def photographs(phantom_set: Path, table: pd.DataFrame) -> dict[str, bytes]:
    folder = phantom_set / "jpeg/train"
    return {name: (folder / f"{name}.jpg").read_bytes() for name in table["image_name"]}


@pytest.fixture
def hdf5(tmp_path: Path, table: pd.DataFrame, photographs: dict[str, bytes]) -> Path:
    """Kaggle's layout of ISIC 2024."""
    folder = tmp_path / "isic2024"
    folder.mkdir()
    columns = {"image_name": "isic_id", "anatom_site_general_challenge": "anatom_site_general"}
    table.rename(columns=columns).to_csv(folder / "train-metadata.csv", index=False)
    with h5py.File(folder / "train-image.hdf5", "w") as file:
        for name, data in photographs.items():
            file[name] = np.void(data)
    return folder


@pytest.fixture
def records(tmp_path: Path, table: pd.DataFrame, photographs: dict[str, bytes]) -> Path:
    """Two TFRecords in the manner of Kaggle's melanoma sets."""
    folder = tmp_path / "tfrecords"
    folder.mkdir()
    for number in range(2):
        writer = TFRecordWriter(str(folder / f"train{number:02d}-6.tfrec"))
        for row in table.iloc[number::2].itertuples():
            patient = int("".join(c for c in row.patient_id if c.isdigit()))
            writer.write(
                {
                    "image": (photographs[row.image_name], "byte"),
                    "image_name": (row.image_name.encode(), "byte"),
                    "patient_id": (patient, "int"),
                    "target": (int(row.target), "int"),
                    "sex": (1, "int"),
                    "age_approx": (-1, "int"),
                }
            )
        writer.close()
    return folder


@pytest.fixture(params=["isic2024", "tfrecord"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def folder(kind: str, request: pytest.FixtureRequest) -> Path:
    found: Path = request.getfixturevalue({"isic2024": "hdf5", "tfrecord": "records"}[kind])
    return found


def test_their_squares_are_those_of_the_files_and_resume_knows_them(
    kind: str, folder: Path, table: pd.DataFrame, phantom_set: Path, tmp_path: Path
) -> None:
    array = prepare_array(recipe_of(kind), folder, tmp_path / "arrays")
    plain = prepare_array(recipe_of("siim"), phantom_set, tmp_path / "plain")
    assert sorted(array.names) == sorted(table["image_name"])
    for name in array.names:
        ours = array.rows([array.row_of[name]])
        assert np.array_equal(ours, plain.rows([plain.row_of[name]]))
    again = prepare_array(recipe_of(kind), folder, tmp_path / "arrays")
    assert again.digest == array.digest
    for path in folder.iterdir():  # another time of the container, the same members
        os.utime(path, (1, 1))
    assert prepare_array(recipe_of(kind), folder, tmp_path / "arrays").digest == array.digest


def test_a_member_of_another_content_is_refused(
    hdf5: Path, photographs: dict[str, bytes], tmp_path: Path
) -> None:
    prepare_array(recipe_of("isic2024"), hdf5, tmp_path / "arrays")
    first, second = list(photographs)[:2]
    with h5py.File(hdf5 / "train-image.hdf5", "r+") as file:
        del file[first]
        file[first] = np.void(photographs[second])
    with pytest.raises(DataError, match=r"1 of 12 image files have changed.*other content"):
        prepare_array(recipe_of("isic2024"), hdf5, tmp_path / "arrays")


def test_an_absent_member_is_named(hdf5: Path, photographs: Any, tmp_path: Path) -> None:
    gone = list(photographs)[3]
    with h5py.File(hdf5 / "train-image.hdf5", "r+") as file:
        del file[gone]
    with pytest.raises(DataError, match=rf"1 of 12 images missing: {gone} \(no member of train-im"):
        prepare_array(recipe_of("isic2024"), hdf5, tmp_path / "arrays")
    (hdf5 / "train-image.hdf5").write_bytes(b"no such thing")
    with pytest.raises(DataError, match="is no HDF5 file"):
        hdf5_keys(hdf5 / "train-image.hdf5")


@pytest.mark.parametrize("place", [3, 200, -2])
def test_a_damaged_record_is_refused_by_its_checksum(records: Path, place: int) -> None:
    path = records / "train00-6.tfrec"
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"train00-6\.tfrec is damaged"):
        list(tfrecords(path))
    path.write_bytes(bytes(data[:500]))
    with pytest.raises(DataError, match=r"damaged"):
        list(tfrecords(path))


def test_a_package_that_is_not_installed_is_named_with_its_extra(
    kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package, extra = {"isic2024": ("h5py", "hdf5"), "tfrecord": ("tfrecord", "tfrecord")}[kind]
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(DataError, match=rf"pip install 'melanoma\[{extra}\]'") as refused:
        prepare_array(recipe_of(kind), folder, tmp_path / "arrays")
    assert refused.value.exit_code == 3


def test_a_path_is_a_member_only_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "odd.h5").mkdir()
    assert split_member(tmp_path / "odd.h5" / "a.jpg") is None
    with h5py.File(tmp_path / "real.h5", "w") as file:
        file["a b/ü"] = np.void(b"\0bytes\0")
    from melanoma.data.containers import member_path

    path = tmp_path / member_path("real.h5", "a b/ü")
    assert split_member(path) == (tmp_path / "real.h5", "a b/ü")
    assert read_member(tmp_path / "real.h5", "a b/ü") == b"\0bytes\0"
