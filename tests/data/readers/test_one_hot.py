"""Labels in a column a class, and tables joined by lesion or by image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from melanoma.data.readers.labels import read_targets
from melanoma.data.readers.one_hot import OneHotLabels, class_columns, find_one_hot
from melanoma.data.readers.reader_catalog import read_lesions
from melanoma.data.readers.table import LesionTable
from melanoma.errors import DataError, RecipeError
from melanoma.recipe.data_sections import CsvFolderData
from melanoma.recipe.overrides import make_recipe

CLASSES = ("NV", "MEL", "BCC")


def table(*rows: str) -> pd.DataFrame:
    return pd.DataFrame([row.split(",") for row in rows], columns=["MEL", "NV", "BCC"])


def read(*rows: str, **meaning: Any) -> tuple[list[int], list[str]]:
    classes = ("benign", "melanoma") if "positive" in meaning else CLASSES
    means = class_columns(["MEL", "NV", "BCC"], classes, **meaning)
    numbers, problems = OneHotLabels(means, classes).read(table(*rows))
    return numbers.tolist(), problems


def test_the_column_of_the_1_is_the_class() -> None:
    assert read("0.0,1.0,0.0", "1,0,0", "0,0,1") == ([0, 1, 2], [])
    labels = {"BCC": "MEL"}
    assert read("0,0,1", "0,1,0", "False,False,True", labels=labels)[0] == [1, 0, 1]


def test_of_two_classes_some_columns_are_melanoma() -> None:
    assert read("0,1,0", "1,0,0", "0,0,1", positive=("MEL",)) == ([0, 1, 0], [])


@pytest.mark.parametrize("bad", ["0,0,0", "1,1,0", "0.5,0.5,0", "1,,0", "2,0,0"])
def test_a_row_without_exactly_one_1_is_named_and_has_no_class(bad: str) -> None:
    numbers, problems = read("0,1,0", "1,0,0", "0,0,1", bad)
    assert numbers == [0, 1, 2, -1]
    assert problems == [f"1 rows without exactly one 1 among MEL,NV,BCC: row 4 (line 5): {bad!r}"]


def test_a_class_without_a_1_is_named() -> None:
    assert read("0,1,0", "1,0,0")[1] == ["no row has its 1 in a column of 'BCC'"]


def test_columns_that_look_like_labels_are_found() -> None:
    frame = table("0,1,0", "1,0,0").assign(image=["a", "b"], age=["50", "1"])
    assert find_one_hot(frame) == ["MEL", "NV", "BCC"]
    assert find_one_hot(table("0,1,1", "1,0,0")) == []


def test_one_column_of_them_is_never_read_as_numbers_of_classes() -> None:
    numbers, problems = read_targets(pd.Series(["0.0", "1.0"], name="MEL"), CLASSES)
    assert numbers.tolist() == [-1, -1]
    assert "--set 'data.target_cols=[NV, MEL, BCC]'" in problems[0]


def folder(path: Path, **files: str) -> Path:
    for name, text in files.items():
        (path / f"{name}.csv").write_text(text)
    return path


def lesions(path: Path, **data: Any) -> LesionTable:
    section = CsvFolderData(reader="csv_folder", **data)
    return read_lesions(path, section, classes=CLASSES)


TRUTH = "image,MEL,NV,BCC\ni1,0.0,1.0,0.0\ni2,1.0,0.0,0.0\ni3,0.0,0.0,1.0\n"
META = "image,age_approx,sex,lesion_id\ni2,40,male,L1\ni1,50,female,L1\n"


def test_isic_2019_is_two_tables_joined_by_the_image(tmp_path: Path) -> None:
    found = lesions(
        folder(tmp_path, truth=TRUTH, meta=META),
        table="truth.csv",
        join={"meta.csv": "image"},
        image_col="image",
        target_cols=CLASSES,
        age_col="age_approx",
    ).require_sound()
    assert found.frame["target"].tolist() == [0, 1, 2]
    assert found.frame["age"].tolist()[:2] == [50, 40]
    assert found.frame["lesion_id"].tolist() == ["L1", "L1", ""]
    assert "1 rows whose image is not in meta.csv: row 3 (line 4): 'i3'" in found.warnings


def test_labels_by_lesion_are_those_of_its_images(tmp_path: Path) -> None:
    images = "isic_id,lesion_id\na,L1\nb,L1\nc,L2\nd,L3\n"
    truth = "lesion_id,MEL,NV,BCC\nL1,1,0,0\nL2,0,1,0\nL3,0,0,1\nL4,0,0,1\n"
    data = {"join": {"truth.csv": "lesion_id"}, "image_col": "isic_id", "target_cols": CLASSES}
    path = folder(tmp_path, images=images, truth=truth)
    found = lesions(path, table="images.csv", **data).require_sound()
    assert found.frame["target"].tolist() == [1, 1, 0, 2]
    assert found.warnings == ("1 rows of truth.csv that no image has as its lesion_id: L4",)
    folder(tmp_path, truth=truth.replace("L4", "L1"))
    with pytest.raises(DataError, match="1 values of lesion_id have several rows: L1"):
        lesions(path, table="images.csv", **data)


def test_a_column_of_two_tables_must_say_the_same(tmp_path: Path) -> None:
    path = folder(tmp_path)
    (path / "truth.csv").write_text(
        "image,sex,MEL,NV,BCC\ni1,male,0,1,0\ni2,male,1,0,0\ni3,male,0,0,1\n"
    )
    folder(path, meta=META)
    with pytest.raises(DataError, match=r"1 rows whose sex is not .*row 1 \(line 2\): 'female'"):
        lesions(path, table="truth.csv", join={"meta.csv": "image"}, image_col="image")


def test_one_hot_labels_without_the_setting_are_told_of_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"--set 'data.target_cols=\[MEL, NV, BCC\]'"):
        lesions(folder(tmp_path, truth=TRUTH), image_col="image")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"target_col": ["a", "b"]}, "labels in a column a class are target_cols"),
        ({"target_cols": ["benign", "x"]}, "data.target_cols: x is none of the classes"),
        ({"target_cols": ["a", "b"], "positive": ["c"]}, "data.positive: c is none of"),
        ({"target_cols": ["benign", "benign"]}, "a column is named twice"),
    ],
)
def test_columns_that_mean_nothing_are_refused(data: dict[str, Any], said: str) -> None:
    values = {"name": "r", "data": {"reader": "csv_folder", **data}, "folds": {"name": "f"}}
    with pytest.raises(RecipeError) as caught:
        make_recipe(values)
    assert said in str(caught.value)


def test_a_recipe_without_them_has_the_digest_of_before() -> None:
    values = {"name": "r", "data": {"reader": "csv_folder"}, "folds": {"name": "f"}}
    assert not {"images", "target_cols", "join"} & set(make_recipe(values).identity()["data"])
