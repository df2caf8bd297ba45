"""The data section of an export of the ISIC Archive: two classes, or a column that names more."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from melanoma.recipe.archive_sections import IsicData

TWO, THREE = ("benign", "melanoma"), ("nevus", "melanoma", "bcc")


def test_without_a_column_of_diagnoses_there_are_two_classes() -> None:
    data = IsicData(reader="isic")
    assert data.problem(TWO, binary=True) is None
    said = data.problem(THREE, binary=False)
    assert said is not None and said.startswith("classes: reader isic knows two")


def test_a_column_of_diagnoses_gives_as_many_as_its_values_mean() -> None:
    data = IsicData(reader="isic", diagnosis_col="diagnosis_3")
    assert data.problem(THREE, binary=False) is None
    labels = {"Nevus": "nevus", "Basal cell carcinoma": "bcc"}
    column = {"reader": "isic", "diagnosis_col": "diagnosis_3"}
    assert (
        IsicData.model_validate({**column, "labels": labels}).problem(THREE, binary=False) is None
    )
    other = IsicData.model_validate({**column, "labels": {**labels, "Wart": "wart"}})
    assert "data.labels: Wart means 'wart'" in (other.problem(THREE, binary=False) or "")


def test_labels_without_their_column_are_refused() -> None:
    data = IsicData(reader="isic", labels={"Nevus": "benign"})
    said = data.problem(TWO, binary=True)
    assert said is not None and said.startswith("data.labels: ") and "data.diagnosis_col" in said


def test_values_and_classes_that_yaml_takes_for_numbers_stay_text() -> None:
    values = {"reader": "isic", "diagnosis_col": "grade", "labels": {1: 0, 2.0: "melanoma"}}
    assert IsicData.model_validate(values).labels == {"1": "0", "2.0": "melanoma"}


def test_rows_without_a_diagnosis_are_refused_unless_they_are_to_be_left_out() -> None:
    assert IsicData(reader="isic").undiagnosed == "refuse"
    with pytest.raises(ValidationError, match="'refuse' or 'leave_out'"):
        IsicData.model_validate({"reader": "isic", "undiagnosed": "benign"})
