"""TFRecords: what each record says of its image, and what stands for nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tfrecord import TFRecordWriter

from melanoma.data.containers import read_member, split_member
from melanoma.data.readers.table import LesionTable
from melanoma.data.readers.tfrecord import read_tfrecord, read_tfrecord_test
from melanoma.errors import DataError
from melanoma.recipe.container_sections import TfrecordData


def record(name: str, **features: Any) -> dict[str, Any]:
    return {
        "image": (f"bytes of {name}".encode(), "byte"),
        "image_name": (name.encode(), "byte"),
        "patient_id": (17, "int"),
        "target": (0, "int"),
        **features,
    }


def write(path: Path, *records: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = TFRecordWriter(str(path))
    for one in records:
        writer.write(one)
    writer.close()
    return path.parent


def read(folder: Path) -> LesionTable:
    return read_tfrecord(folder, TfrecordData(reader="tfrecord"), ("benign", "melanoma"))


def test_a_record_gives_a_row_and_its_source_leads_to_its_image(tmp_path: Path) -> None:
    melanoma = {"target": (1, "int"), "patient_id": (-1, "int"), "age_approx": (45.5, "float")}
    write(tmp_path / "train01.tfrec", record("c", lesion_id=(b" L1 ", "byte")))
    write(tmp_path / "train00.tfrec", record("a"), record("b", **melanoma))
    frame = read(tmp_path).require_sound().frame
    assert frame["image_name"].tolist() == ["a", "b", "c"]
    assert frame["target"].tolist() == [0, 1, 0]
    assert frame["label"].tolist() == ["benign", "melanoma", "benign"]
    assert frame["patient_id"].tolist() == ["17", "", "17"]
    assert frame["lesion_id"].tolist() == ["", "", "L1"]
    assert frame["age"].fillna(-1).tolist() == [-1, 45.5, -1]
    for name, source in zip(frame["image_name"], frame["source"], strict=True):
        member = split_member(tmp_path / source)
        assert member is not None
        assert read_member(*member) == f"bytes of {name}".encode()


def test_numbers_of_patients_keep_every_digit(tmp_path: Path) -> None:
    numbers = [20480101, 20480102, 2**53 + 1]
    records = [record(f"i{n}", patient_id=(n, "int")) for n in numbers]
    records.append(record("f", age_approx=(45.25, "float")))
    frame = read(write(tmp_path / "train.tfrec", *records)).frame
    assert frame["patient_id"].tolist() == [*map(str, numbers), "17"]
    assert frame["age"].tolist()[-1] == 45.25


def test_sexes_and_sites_are_words_or_unknown_and_never_a_code(tmp_path: Path) -> None:
    site = "anatom_site_general_challenge"
    words = {"sex": (b"female", "byte"), site: (b"torso", "byte")}
    codes = {"sex": (1, "int"), site: (3, "int")}
    frame = read(write(tmp_path / "train.tfrec", record("a", **words), record("b", **codes))).frame
    assert frame["sex"].tolist() == ["female", ""]
    assert frame["site"].tolist() == ["torso", ""]


def test_a_target_that_is_not_known_is_refused_and_no_class(tmp_path: Path) -> None:
    folder = write(tmp_path / "train.tfrec", record("a"), record("b", target=(-1, "int")))
    with pytest.raises(DataError, match="'-1'"):
        read(folder).require_sound()


def test_a_list_of_numbers_says_nothing(tmp_path: Path) -> None:
    folder = write(tmp_path / "train.tfrec", record("a", age_approx=([40, 50], "int")))
    assert read(folder).frame["age"].isna().all()


def test_those_named_train_are_read_alone_where_there_are_some(tmp_path: Path) -> None:
    write(tmp_path / "train00.tfrec", record("a"), record("b", target=(1, "int")))
    for other in ("test00.tfrec", "ld_train00.tfrec", "._train00.tfrec", "train.txt"):
        write(tmp_path / other, record(f"in {other}"))
    assert read(tmp_path).names == ["a", "b"]
    unnamed = write(tmp_path / "other/fold0.TFREC", record("c"))
    write(unnamed / "fold1.tfrecord", record("d"))
    assert read(unnamed).names == ["c", "d"]


def test_a_folder_without_records_is_refused_with_what_they_are_called(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(DataError, match=r"holds no TFRecords \(.*\.tfrec"):
            read(folder)


@pytest.mark.parametrize("column", ["image_name", "target"])
def test_records_that_lack_what_they_must_say_are_refused(column: str, tmp_path: Path) -> None:
    features = record("a")
    del features[column]
    with pytest.raises(DataError, match=f"its records have no {column}"):
        read(write(tmp_path / "train.tfrec", features))


def test_the_test_part_is_read_without_labels_where_there_is_one(tmp_path: Path) -> None:
    write(tmp_path / "train00.tfrec", record("a"))
    assert read_tfrecord_test(tmp_path) is None
    features = record("t")
    del features["target"]
    write(tmp_path / "test00.tfrec", features)
    table = read_tfrecord_test(tmp_path)
    assert table is not None
    assert table.names == ["t"]
    assert table.frame["label"].tolist() == [""]
