"""ISIC 2024: rows of the metadata beside the members of one HDF5 file."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from melanoma.data.containers import read_member, split_member
from melanoma.data.readers.isic2024 import read_isic2024, read_isic2024_test
from melanoma.data.readers.table import LesionTable
from melanoma.errors import DataError
from melanoma.recipe.container_sections import Isic2024Data

HEADER = "isic_id,target,patient_id,lesion_id,age_approx,sex,anatom_site_general,iddx_full"
ROWS = (
    "I1,0,P1,,60.0,male,posterior torso,Benign",
    "I2,1,P1,L2,,female,,Malignant::Melanoma",
    "I3,0,P2,,45.0,,lower extremity,Benign",
)


def write(folder: Path, *rows: str, part: str = "train", members: tuple[str, ...] = ()) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / f"{part}-metadata.csv").write_text("\n".join(rows) + "\n")
    with h5py.File(folder / f"{part}-image.hdf5", "w") as file:
        for name in members:
            file[name] = np.void(f"bytes of {name}".encode())
    return folder


def read(folder: Path) -> LesionTable:
    return read_isic2024(folder, Isic2024Data(reader="isic2024"), ("benign", "melanoma"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "isic", HEADER, *ROWS, members=("I1", "I2", "I3"))


def test_a_row_has_what_the_metadata_says_of_it_and_its_own_member(folder: Path) -> None:
    frame = read(folder).require_sound().frame
    assert frame["image_name"].tolist() == ["I1", "I2", "I3"]
    assert frame["target"].tolist() == [0, 1, 0]
    assert frame["label"].tolist() == ["benign", "melanoma", "benign"]
    assert frame["patient_id"].tolist() == ["P1", "P1", "P2"]
    assert frame["lesion_id"].tolist() == ["", "L2", ""]
    assert frame["age"].fillna(-1).tolist() == [60, -1, 45]
    assert frame["sex"].tolist() == ["male", "female", ""]
    assert frame["site"].tolist() == ["posterior torso", "", "lower extremity"]
    assert frame["iddx_full"].tolist() == ["Benign", "Malignant::Melanoma", "Benign"]
    for name, source in zip(frame["image_name"], frame["source"], strict=True):
        member = split_member(folder / source)
        assert member is not None
        assert read_member(*member) == f"bytes of {name}".encode()


def test_the_diagnosis_is_kept_where_there_is_one_alone(tmp_path: Path) -> None:
    short = [",".join(line.split(",")[:3]) for line in (HEADER, *ROWS)]
    frame = read(write(tmp_path / "short", *short, members=("I1", "I2", "I3"))).frame
    assert "iddx_full" not in frame
    assert frame["target"].tolist() == [0, 1, 0]


def test_rows_without_member_and_members_without_row_are_named(tmp_path: Path) -> None:
    table = read(write(tmp_path / "x", HEADER, *ROWS, members=("I1", "I3", "Z", "A")))
    assert table.unmatched == {"I2": "no member of train-image.hdf5"}
    assert table.unlabeled == ("train-image.hdf5/A", "train-image.hdf5/Z")
    sources = dict(zip(table.frame["image_name"], table.frame["source"], strict=True))
    assert sources["I3"] == "train-image.hdf5/I3"


@pytest.mark.parametrize("column", ["isic_id", "patient_id", "target"])
def test_a_column_that_must_be_there_is_named(column: str, tmp_path: Path) -> None:
    header = HEADER.replace(column, "other", 1)
    with pytest.raises(DataError, match=f"lacks {column}"):
        read(write(tmp_path / "x", header, *ROWS, members=("I1",)))


def test_what_is_absent_of_the_two_files_is_named(folder: Path) -> None:
    (folder / "train-image.hdf5").unlink()
    with pytest.raises(DataError, match=r"has no train-image\.hdf5, whose images the table names"):
        read(folder)
    (folder / "train-metadata.csv").unlink()
    with pytest.raises(DataError, match=r"train-metadata\.csv"):
        read(folder)


def test_the_test_part_is_read_without_labels_where_there_is_one(folder: Path) -> None:
    assert read_isic2024_test(folder) is None
    header, *rows = (",".join([f[0], *f[2:]]) for f in (x.split(",") for x in (HEADER, *ROWS)))
    write(folder, header, *rows, part="test", members=("I1", "I2", "I3"))
    table = read_isic2024_test(folder)
    assert table is not None
    assert table.frame["patient_id"].tolist() == ["P1", "P1", "P2"]
    assert set(table.frame["label"]) == {""}
    assert table.frame["source"].tolist() == [f"test-image.hdf5/I{n}" for n in (1, 2, 3)]
