"""The ISIC Archive's export: diagnoses become classes, rows without one are named or left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from file_trees import tree

from melanoma.data.readers.reader_catalog import read_lesions
from melanoma.data.readers.table import LesionTable
from melanoma.errors import DataError
from melanoma.recipe.data_sections import IsicData

HEADER = (
    "isic_id,attribution,copyright_license,age_approx,anatom_site_general,concomitant_biopsy,"
    "diagnosis_1,diagnosis_2,diagnosis_3,image_type,lesion_id,patient_id,sex"
)
MELANOMA = "Malignant,Malignant melanocytic proliferations (Melanoma)"
ROWS = (
    f"I1,A,CC-0,55,head/neck,True,{MELANOMA},Melanoma in situ,dermoscopic,L1,P1,male",
    "I2,A,CC-0,40,,False,Benign,Benign melanocytic proliferations,Nevus,dermoscopic,,P1,female",
    "I3,A,CC-0,70,,True,Malignant,Malignant epidermal proliferations,Basal cell carcinoma,"
    "clinical: close-up,L2,,male",
    "I4,A,CC-0,85+,,True,Indeterminate,Indeterminate melanocytic proliferations,,dermoscopic,,,",
    "I5,A,CC-0,,,,,,,dermoscopic,,,",
)


def export(folder: Path, *rows: str) -> Path:
    (folder / "metadata.csv").write_text("\n".join([HEADER, *rows]) + "\n")
    return tree(folder, *(f"images/{row.split(',')[0]}.jpg" for row in rows))


def read(
    folder: Path, classes: tuple[str, ...] = ("benign", "melanoma"), **data: Any
) -> LesionTable:
    return read_lesions(folder, IsicData(reader="isic", **data), classes=classes)


def test_melanoma_against_the_rest_is_what_the_diagnoses_say(tmp_path: Path) -> None:
    table = read(export(tmp_path, *ROWS[:3])).require_sound()
    frame = table.frame
    assert frame["target"].tolist() == [1, 0, 0]
    assert frame["patient_id"].tolist() == ["P1", "P1", ""]
    assert frame["lesion_id"].tolist() == ["L1", "", "L2"]
    assert frame["age"].tolist() == [55, 40, 70]
    assert frame["site"].tolist()[0] == "head/neck"
    assert frame["image_type"].tolist()[2] == "clinical: close-up"
    assert frame["concomitant_biopsy"].tolist() == ["True", "False", "True"]
    assert (table.unlabeled, table.problems) == ((), ())


def test_rows_without_a_diagnosis_are_named_or_left_out(tmp_path: Path) -> None:
    folder = export(tmp_path, *ROWS)
    with pytest.raises(DataError) as caught:
        read(folder).require_sound()
    said = str(caught.value)
    assert "2 rows without a diagnosis that says whether it is a melanoma" in said
    assert "row 4 (line 5): 'I4', row 5 (line 6): 'I5'" in said
    assert "data.undiagnosed=leave_out" in said
    table = read(folder, undiagnosed="leave_out").require_sound()
    assert table.names == ["I1", "I2", "I3"]
    rows = "row 4 (line 5): 'I4', row 5 (line 6): 'I5'"
    assert f"2 rows without a diagnosis left out: {rows}" in table.warnings
    assert table.unlabeled == ()


def test_types_of_images_are_kept_by_name(tmp_path: Path) -> None:
    table = read(export(tmp_path, *ROWS[:3]), image_types=("dermoscopic",)).require_sound()
    assert table.names == ["I1", "I2"]
    assert "1 rows of another image_type left out: row 3 (line 4): 'I3'" in table.warnings
    assert table.unlabeled == ()
    with pytest.raises(DataError, match="found: 'dermoscopic', 'clinical: close-up'"):
        read(tmp_path, image_types=("dermoscopy",))


def test_a_diagnosis_of_an_image_that_is_left_out_needs_no_meaning(tmp_path: Path) -> None:
    table = read(
        export(tmp_path, *ROWS[:3]),
        image_types=("dermoscopic",),
        diagnosis_col="diagnosis_3",
        labels={"Nevus": "benign", "Melanoma in situ": "melanoma"},
    )
    assert table.problems == ()
    assert table.names == ["I1", "I2"]


def test_a_column_of_diagnoses_gives_the_classes(tmp_path: Path) -> None:
    folder = export(tmp_path, *ROWS)
    labels = {"Benign": "benign", "Malignant": "malignant"}
    data = {"diagnosis_col": "diagnosis_1", "labels": labels, "undiagnosed": "leave_out"}
    table = read(folder, ("benign", "malignant"), **data).require_sound()
    assert table.frame["label"].tolist() == ["malignant", "benign", "malignant"]
    labels["Benign"] = "malignant"
    assert "means 'benign'" in read(folder, ("benign", "malignant"), **data).problems[0]
    # Who says what Indeterminate means has it as a diagnosis.
    data["labels"] = {"Benign": "benign", "Malignant": "malignant", "Indeterminate": "malignant"}
    assert len(read(folder, ("benign", "malignant"), **data)) == 4


def test_a_value_that_means_no_class_keeps_its_line(tmp_path: Path) -> None:
    folder = export(tmp_path, ROWS[4], *ROWS[:3])
    data = {
        "diagnosis_col": "diagnosis_3",
        "labels": {"Nevus": "benign", "Melanoma in situ": "melanoma"},
    }
    said = "; ".join(read(folder, undiagnosed="leave_out", **data).problems)
    assert "row 4 (line 5): 'Basal cell carcinoma'" in said


def test_a_benign_melanoma_is_refused(tmp_path: Path) -> None:
    folder = export(tmp_path, ROWS[1], ROWS[0].replace("Malignant,", "Benign,", 1))
    with pytest.raises(DataError, match=r"1 melanomas whose diagnosis_1 is benign: row 2"):
        read(folder).require_sound()


def test_older_exports_have_one_diagnosis(tmp_path: Path) -> None:
    csv = "isic_id,benign_malignant,diagnosis\nI1,malignant,melanoma\nI2,benign,nevus\nI3,,\n"
    (tmp_path / "metadata.csv").write_text(csv)
    table = read(tmp_path, undiagnosed="leave_out").require_sound()
    assert table.frame["target"].tolist() == [1, 0]
    (tmp_path / "metadata.csv").write_text("isic_id,sex\nI1,male\n")
    with pytest.raises(DataError, match="has none of diagnosis_1"):
        read(tmp_path)


def test_malignant_and_no_more_is_no_benign_lesion(tmp_path: Path) -> None:
    """A melanoma or a carcinoma, and nobody knows which."""
    bare = "I6,A,CC-0,50,,True,Malignant,unknown,,dermoscopic,,,"
    other = "I7,A,CC-0,50,,True,Malignant,Non-melanoma skin cancer,,dermoscopic,,,"
    benign = "I8,A,CC-0,50,,True,Benign,,,dermoscopic,,,"
    table = read(export(tmp_path, *ROWS[:2], bare, other, benign), undiagnosed="leave_out")
    frame = table.require_sound().frame
    assert frame["image_name"].tolist() == ["I1", "I2", "I7", "I8"]
    assert frame["target"].tolist() == [1, 0, 0, 0]
