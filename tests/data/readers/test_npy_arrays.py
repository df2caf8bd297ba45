"""Kaggle's arrays alone: labels of any plain form, rows with names, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from melanoma.data.readers.reader_catalog import read_lesions, read_test_lesions
from melanoma.errors import DataError
from melanoma.recipe.data_sections import NpyArrayData

pytestmark = pytest.mark.slow  # it trains, serves or reads photographs

Door = Callable[..., Any]
ARRAYS = NpyArrayData(reader="npy_arrays")
TARGET = [0, 1, 0, 0, 1]


@pytest.mark.parametrize(
    "labels",
    [
        np.array(TARGET),
        np.array(TARGET, dtype=np.uint8).reshape(-1, 1),
        np.array(TARGET, dtype=np.float32),
        np.array(TARGET, dtype=bool),
        np.eye(2, dtype=np.float32)[TARGET],
        np.array(["benign", "melanoma", "benign", "benign", "melanoma"]),
        np.array([b"0", b"1", b"0", b"0", b"1"]),
    ],
    ids=["int", "column", "float", "bool", "one-hot", "text", "bytes"],
)
def test_labels_are_read_in_every_plain_form(labels: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "y_train.npy", labels)
    table = read_lesions(tmp_path, ARRAYS).require_sound()
    assert table.frame["target"].tolist() == TARGET
    assert len(set(table.names)) == 5
    assert set(table.frame["patient_id"]) == {""}


def test_rows_of_two_sets_have_no_name_in_common(tmp_path: Path) -> None:
    names = []
    for number, labels in enumerate(([0, 1, 0], [1, 0, 0])):
        (tmp_path / str(number)).mkdir()
        np.save(tmp_path / str(number) / "y_train.npy", np.array(labels))
        names.append(set(read_lesions(tmp_path / str(number), ARRAYS).names))
    assert not names[0] & names[1]


def test_patients_may_come_as_an_array_too(tmp_path: Path) -> None:
    np.save(tmp_path / "y_train.npy", np.array(TARGET))
    np.save(tmp_path / "patients.npy", np.array([7, 7, 8, 9, 9]))
    data = NpyArrayData(reader="npy_arrays", groups_file="patients.npy")
    frame = read_lesions(tmp_path, data).require_sound().frame
    assert frame["patient_id"].tolist() == ["7", "7", "8", "9", "9"]
    np.save(tmp_path / "patients.npy", np.array([7, 7]))
    with pytest.raises(DataError, match="2 groups for 5 labels"):
        read_lesions(tmp_path, data)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (np.array([0, 1, np.nan, 0.5]), r"2 rows are not whole numbers: rows 2, 3 \(from 0\)"),
        (np.array([[1, 1], [0, 1], [0, 0]]), r"2 rows are not one 1: rows 0, 2"),
        (np.zeros((2, 2, 2)), "one-hot"),
        (np.array([0, 1, 7]), r"1 rows whose target is not 0 or 1: row 3"),
        (np.array([{}, {}]), r"is no plain \.npy array"),
        (np.array(3), "holds a single value"),
    ],
    ids=["fractions", "two hot", "three axes", "a class too many", "pickle", "scalar"],
)
def test_what_is_no_label_is_refused_by_its_row(labels: Any, said: str, tmp_path: Path) -> None:
    np.save(tmp_path / "y_train.npy", labels, allow_pickle=True)
    with pytest.raises(DataError, match=said):
        read_lesions(tmp_path, ARRAYS).require_sound()


def test_test_rows_are_named_by_test_csv_or_numbered(tmp_path: Path) -> None:
    assert read_test_lesions(tmp_path, ARRAYS) is None
    np.save(tmp_path / "x_test_32.npy", np.zeros((3, 32, 32, 3), np.uint8))
    numbered = read_test_lesions(tmp_path, ARRAYS)
    assert numbered is not None
    assert numbered.names == ["0", "1", "2"]
    pd.DataFrame({"image_name": ["a", "b", "c"]}).to_csv(tmp_path / "test.csv", index=False)
    named = read_test_lesions(tmp_path, ARRAYS)
    assert named is not None
    assert named.names == ["a", "b", "c"]


@pytest.mark.usefixtures("set_by_hand")
def test_from_two_arrays_to_a_submission(
    trained: Any, tiny_recipe: Callable[..., Path], call_door: Door, tmp_path: Path
) -> None:
    """The whole way of a person who has Kaggle's arrays and nothing else."""
    data = tmp_path / "kaggle"
    data.mkdir()
    np.save(data / "x_train_32.npy", trained.array.rows(range(80)))
    np.save(data / "y_train.npy", trained.table.frame["target"].to_numpy())
    np.save(data / "x_test_32.npy", trained.array.rows(range(5)))
    pd.DataFrame({"image_name": range(5), "target": 0}).to_csv(data / "sample.csv", index=False)
    recipe = tiny_recipe(data={"reader": "npy_arrays"}, folds={"k": 2}, training={"epochs": 1})
    common = ["--config", recipe, "--data", data, "--weights", "run", "--arrays", "arrays"]
    common += ["--folds", "folds.csv"]
    trained_all = call_door("train", *common, "--fold", "all", "--device", "cpu")
    assert trained_all.code == 0, trained_all.err
    assert call_door("evaluate", *common).code == 0
    asked = [data / "x_test_32.npy", "--weights", "run", "--submission", data / "sample.csv"]
    answer = call_door("predict", *asked, "--out", "submission.csv")
    assert answer.code == 0, answer.err
    found = pd.read_csv("submission.csv")
    assert found["image_name"].tolist() == list(range(5))
    assert found["target"].between(0, 1).all()
    assert found["target"].nunique() > 1


def test_a_test_array_is_adopted_with_the_training_s_and_predict_reads_it(
    trained: Any, tiny_recipe: Callable[..., Path], call_door: Door, tmp_path: Path
) -> None:
    """Kaggle's layout without one photograph: x_train_32.npy, x_test_32.npy and their tables."""
    data, rows = tmp_path / "kaggle", trained.array.rows(range(80))
    data.mkdir()
    np.save(data / "x_train_32.npy", rows)
    trained.table.frame[["image_name", "patient_id", "target"]].to_csv(
        data / "train.csv", index=False
    )
    np.save(data / "x_test_32.npy", rows[:6])
    names = [f"T{n}" for n in range(6)]
    pd.DataFrame({"image_name": names, "target": 0}).to_csv(data / "sample.csv", index=False)
    common = ["--config", tiny_recipe(), "--data", data]
    unnamed = call_door("prepare", *common, "--arrays", "one")
    assert unnamed.code == 0, unnamed.err
    assert "no test.csv names the rows of" in unnamed.err
    pd.DataFrame({"image_name": names}).to_csv(data / "test.csv", index=False)
    assert call_door("prepare", *common, "--arrays", "two").code == 0
    asked = ["--weights", trained.folder, "--submission", data / "sample.csv", "--out", "s.csv"]
    answer = call_door("predict", "two", *asked)
    assert answer.code == 0, answer.err
    assert "named by two/x_test_32.json" in answer.err
    assert pd.read_csv("s.csv")["image_name"].tolist() == names
    other = call_door("prepare", *common, "--set", "image.size=48", "--arrays", "three")
    assert other.code == 3, "the training array is of another size"
