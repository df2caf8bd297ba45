"""Identities: every column of patients and lesions that is there joins, however partly filled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from refusals import Door

from melanoma.data.folds import load_folds, make_folds
from melanoma.data.groups import plain_number
from melanoma.data.readers.identities import (
    count_known,
    describe_large_groups,
    identity_columns,
    read_identity,
)
from melanoma.data.readers.reader_catalog import read_lesions
from melanoma.data.readers.table import LesionTable
from melanoma.recipe.data_sections import CsvFolderData, SiimData
from melanoma.recipe.sections import Folds

COLUMNS = ("--image-col", "isic_id", "--target-col", "diagnosis_1")
MALIGNANT = ("--set", "data.positive=[Malignant]")


def read(folder: Path, frame: pd.DataFrame, **options: Any) -> LesionTable:
    folder.mkdir(exist_ok=True)
    frame.to_csv(folder / "t.csv", index=False)
    return read_lesions(folder, CsvFolderData(reader="csv_folder", **options))


def half_known(rows: int = 60) -> pd.DataFrame:
    """As the archive exports it: some rows have a patient, some a lesion alone, some neither."""
    numbers = range(1, rows + 1)
    return pd.DataFrame(
        {
            "isic_id": [f"ISIC_{i:03d}" for i in numbers],
            "diagnosis_1": ["Malignant" if i % 4 == 0 else "Benign" for i in numbers],
            "lesion_id": [f"IL_{i // 2 % 14}" if i % 3 != 2 else "" for i in numbers],
            "patient_id": [f"IP_{i % 9}" if i % 3 == 0 else "" for i in numbers],
        }
    )


@pytest.mark.parametrize("named", [[], ["patient_id"], ["lesion_id"], ["patient_id", "lesion_id"]])
def test_case_03_no_patient_and_no_lesion_stands_in_two_folds(
    named: list[str], call_door: Door, tmp_path: Path
) -> None:
    frame = half_known(120).assign(
        patient_id=[f"IP_{i}" if i % 3 == 0 else "" for i in range(1, 121)],
        lesion_id=[f"IL_{i // 2}" if i % 3 != 2 else "" for i in range(1, 121)],
    )
    frame.to_csv(tmp_path / "t.csv", index=False)
    options = [f"--group-col={name}" for name in named]
    answer = call_door(
        "split", "--data", tmp_path, *COLUMNS, *MALIGNANT, *options, "--out", "f.csv"
    )
    assert answer.code == 0, answer.err
    made = pd.read_csv(tmp_path / "f.csv")[["image_name", "fold"]]
    made = made.merge(frame, left_on="image_name", right_on="isic_id")
    for column in ("patient_id", "lesion_id"):
        known = made.dropna(subset=[column])
        known = known[known[column] != ""]
        assert known.groupby(column)["fold"].nunique().max() == 1
    assert "40 patients (80 images without), " in answer.out
    assert "lesions (40 images without)" in answer.out


def test_headers_say_what_they_hold_and_named_columns_are_added() -> None:
    header = ["Patient ID", "lesion", "LesionID", "diagnosis", "who", "mole no", "subject"]
    found = identity_columns(header, ["who", "mole no"], named_are="patient")
    assert found["patient_id"] == ["who", "mole no", "Patient ID", "subject"]
    assert found["lesion_id"] == ["LesionID"]  # a column `lesion` may hold diagnoses
    found = identity_columns(header, ["lesion", "mole no"], named_are="lesion")
    assert found["lesion_id"] == ["lesion", "mole no", "LesionID"]


@pytest.mark.parametrize(
    "header",
    [
        *("anon_patient_id", "PatientPseudoID", "isic_patient_id", "patients", "Patient Code"),
        *("MRN", "pat_id", "participant_uuid", "hashed_subject_id", "patient_id.1"),
    ],
)
def test_a_column_of_patients_is_found_under_the_names_that_archives_give_it(header: str) -> None:
    found = identity_columns(["image", header, "target"], [], named_are="patient")
    assert found == {"patient_id": [header], "lesion_id": []}


@pytest.mark.parametrize("other", ["MRN", "anon_patient_id", "patient_uuid", "patient_id.1"])
def test_a_patient_is_called_by_the_plain_column_wherever_it_stands(other: str) -> None:
    """An external table has patients by the names that the fold file has."""
    found = identity_columns([other, "image", "patient_id"], [], named_are="patient")
    assert found["patient_id"] == ["patient_id", other]
    # As ever among plain ones, so that frozen folds go on.
    found = identity_columns(["subject", "patient_id"], [], named_are="patient")
    assert found["patient_id"] == ["subject", "patient_id"]


def test_columns_about_a_patient_or_a_lesion_are_no_identity() -> None:
    header = ["patient_age", "personal_hx_mm", "patient_sex", "lesion_code", "lesion", "case"]
    header += ["subject_skin_type", "lesion_size", "path", "patterns", "lesions", "impatient"]
    header += ["lesion_num"]  # of a patient's lesions, as often as not: 1, 2, 3
    found = identity_columns(header, [], named_are="patient")
    assert found == {"patient_id": [], "lesion_id": []}


def test_a_patient_column_that_stands_twice_joins_by_both(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        "image,patient_id,target,patient_id\na,P1,0,Q1\nb,P2,1,Q1\nc,P3,0,Q9\nd,,1,Q9\n"
    )
    table = read_lesions(
        tmp_path, CsvFolderData(reader="csv_folder", image_col="image", target_col="target")
    )
    assert table.frame["patient_id"].tolist() == ["P1", "P1", "P3", "P3"]


def test_two_columns_of_patients_are_joined_and_equal_words_in_both_are_not() -> None:
    table = pd.DataFrame({"here": ["1", "1", "", "", "2"], "there": ["", "7", "7", "1", "-1"]})
    found = read_identity(table, ["here", "there"]).tolist()
    assert found == ["1", "1", "1", "there:1", "2"]


def test_a_column_without_a_value_names_nobody_and_changes_no_name() -> None:
    """Another table, without it, has the same patients by the same names."""
    table = pd.DataFrame({"patient_id": ["", "unknown", ""], "MRN": ["5", "5.0", ""]})
    assert read_identity(table, ["patient_id", "MRN"]).tolist() == ["5", "5", ""]
    assert read_identity(table, ["patient_id"]).tolist() == ["", "", ""]
    assert plain_number("MRN:5.0") == "MRN:5"  # of a table whose first column says something


def test_12_and_12_point_0_are_one_patient() -> None:
    table = pd.DataFrame({"patient": ["12", "12.0", "7.0", "7.0", "1.0.0", "a.0", "a"]})
    found = read_identity(table, ["patient"]).tolist()
    # What stands in one spelling alone keeps it: frozen folds hold it so.
    assert found == ["12", "12", "7.0", "7.0", "1.0.0", "a.0", "a"]


def test_12_and_12_point_0_are_one_patient_for_every_reader(tmp_path: Path) -> None:
    rows = ["image_name,patient_id,sex,age_approx,anatom_site_general_challenge,target"]
    rows += [f"i{n},{patient},,,,{n % 2}" for n, patient in enumerate(("12", "12.0", "7.0"))]
    (tmp_path / "train.csv").write_text("\n".join(rows) + "\n")
    table = read_lesions(tmp_path, SiimData(reader="siim"))
    assert table.frame["patient_id"].tolist() == ["12", "12", "7.0"]


def test_images_may_be_named_by_the_patient(tmp_path: Path) -> None:
    frame = pd.DataFrame({"patient_id": ["a", "b"], "target": [0, 1], "lesion_id": ["x", "x"]})
    table = read(tmp_path / "d", frame, image_col="patient_id")
    assert table.names == ["a", "b"]
    assert table.frame["patient_id"].tolist() == ["", ""]
    assert table.frame["lesion_id"].tolist() == ["x", "x"]


@pytest.mark.parametrize("word", ["-1", "unknown", "NULL", "None", "N/A", "<NA>", "\\N"])
def test_case_04_a_placeholder_is_nobody(word: str, call_door: Door, tmp_path: Path) -> None:
    numbers = range(1, 37)
    frame = pd.DataFrame(
        {
            "image_name": [f"a{i:02d}" for i in numbers],
            "patient_id": [f"P{i}" if i % 3 == 0 else word for i in numbers],
            "target": [int(i % 4 == 0) for i in numbers],
        }
    )
    frame.to_csv(tmp_path / "t.csv", index=False)
    options = ("--set", "folds.k=3", "--group-col", "patient_id", "--image-col", "image_name")
    answer = call_door("split", "--data", tmp_path, *options, "--out", "f.csv")
    assert answer.code == 0, answer.err
    assert pd.read_csv(tmp_path / "f.csv")["fold"].value_counts().tolist() == [12, 12, 12]
    assert "36 groups; 12 patients (24 images without), lesions not known" in answer.out
    assert "one group" not in answer.err


def test_a_placeholder_in_a_foreign_fold_file_is_nobody(tmp_path: Path) -> None:
    path = tmp_path / "folds.csv"
    path.write_text("image_name,patient_id,target,fold\na,unknown,0,0\nb,unknown,1,1\n")
    folds = load_folds(path)
    assert folds.whole["patient_id"].tolist() == ["", ""]
    assert folds.whole["group"].nunique() == 2


def test_a_group_of_more_than_a_tenth_is_reported_by_what_names_it(tmp_path: Path) -> None:
    frame = half_known().assign(patient_id=["archive"] * 7 + [f"P{i}" for i in range(53)])
    frame = frame.drop(columns="lesion_id")
    options: dict[str, Any] = {"image_col": "isic_id", "target_col": "diagnosis_1"}
    table = read(tmp_path / "d", frame, **options, positive=("Malignant",))
    said = [line for line in table.warnings if "one group" in line]
    assert len(said) == 1
    assert "holds 7 of 60 images (patient_id 'archive' stands in 7 of them)" in said[0]
    fewer = frame.assign(patient_id=["archive"] * 6 + [f"P{i}" for i in range(54)])
    table = read(tmp_path / "e", fewer, **options, positive=("Malignant",))
    assert not any("one group" in line for line in table.warnings)
    nobody = table.frame.assign(patient_id="")
    assert "joined by what they show" in describe_large_groups(nobody, [0] * 60)[0]


def test_without_patients_they_are_not_known(call_door: Door, tmp_path: Path) -> None:
    frame = half_known()[["isic_id", "diagnosis_1"]]
    frame.to_csv(tmp_path / "t.csv", index=False)
    assert "patients not known" in call_door("check", "--data", tmp_path, *COLUMNS, *MALIGNANT).out
    answer = call_door("split", "--data", tmp_path, *COLUMNS, *MALIGNANT, "--out", "f.csv")
    assert "not looked for (no array yet" in answer.out
    assert "\npatients: not known; lesions: not known\n" in answer.out
    assert count_known(pd.Series(["", ""]), "patient") == "patients not known"


def test_group_by_none_still_divides_patients(tmp_path: Path) -> None:
    options: dict[str, Any] = {"image_col": "isic_id", "target_col": "diagnosis_1"}
    table = read(tmp_path / "d", half_known(), **options, positive=("Malignant",))
    folds = make_folds(table, Folds(name="x", k=3, group_by="none"))
    known = folds.frame[folds.frame["patient_id"] != ""]
    assert known.groupby("patient_id")["fold"].nunique().max() > 1


def test_the_index_that_pandas_wrote_is_nobody_s_sex_and_no_patient(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(",image_name,target\n0,a,0\n1,b,1\n")
    frame = read_lesions(tmp_path, CsvFolderData(reader="csv_folder")).frame
    unknown = frame[["patient_id", "lesion_id", "sex", "site"]]
    assert set(unknown.to_numpy().ravel()) == {""}
    assert frame["age"].isna().all()
