"""Any CSV beside any folder: columns of any name, classes by code, and one table alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from reader_folders import (
    any_folder,
    coded_folder,
    csv_data,
    picture,
    refused,
)

from melanoma.data.readers.reader_catalog import read_lesions
from melanoma.data.readers.table import COLUMNS
from melanoma.errors import DataError


def test_columns_of_any_name_can_be_read(tmp_path: Path) -> None:
    data = csv_data(
        image_col="file",
        target_col="dx",
        group_col="who",
        positive=("mel",),
        age_col="years",
        sex_col="gender",
        site_col="where",
    )
    frame = read_lesions(any_folder(tmp_path), data).require_sound().frame
    assert frame["target"].tolist() == [1, 0, 0, 1, 0]
    assert frame["patient_id"].tolist() == ["p1", "p1", "p2", "p2", "p3"]
    assert frame["lesion_id"].tolist() == [""] * 5
    assert frame["sex"].tolist() == ["male", "female", "", "male", "male"]
    assert frame["site"].tolist() == ["back", "", "arm", "arm", "arm"]
    assert np.array_equal(frame["age"], [50, np.nan, 61.5, np.nan, 30], equal_nan=True)


def test_columns_that_a_recipe_keeps_go_along_as_text(tmp_path: Path) -> None:
    data = csv_data(
        image_col="file", target_col="dx", positive=("mel",), keep_cols=("years", "where")
    )
    frame = read_lesions(any_folder(tmp_path), data).require_sound().frame
    assert tuple(frame.columns) == (*COLUMNS, "years", "where")
    assert frame["years"].tolist() == ["50", "", "61.5", "old", "30"]


def test_names_match_with_and_without_extension_and_below_folders(tmp_path: Path) -> None:
    data = csv_data(image_col="file", target_col="dx", positive=("mel",))
    frame = read_lesions(any_folder(tmp_path), data).frame
    # deep/er/d is no file there: a path that is wrong is not helped by a stem that exists.
    assert frame["source"].tolist() == ["deep/er/a.png", "b.JPG", "c.jpeg", "", "e.e.jpg"]


def test_the_group_may_be_a_lesion(tmp_path: Path) -> None:
    data = csv_data(
        image_col="file", target_col="dx", positive=("mel",), group_col="who", group_is="lesion"
    )
    frame = read_lesions(any_folder(tmp_path), data).frame
    assert frame["lesion_id"].tolist() == ["p1", "p1", "p2", "p2", "p3"]
    assert frame["patient_id"].tolist() == [""] * 5


def test_without_a_group_column_nobody_is_grouped(tmp_path: Path) -> None:
    data = csv_data(image_col="file", target_col="dx", positive=("mel",))
    frame = read_lesions(any_folder(tmp_path), data).frame
    assert set(frame["patient_id"]) == set(frame["lesion_id"]) == {""}


def test_a_positive_class_that_does_not_occur_is_refused_with_those_that_do(
    tmp_path: Path,
) -> None:
    data = csv_data(image_col="file", target_col="dx", positive=("melanoma",))
    said = refused(any_folder(tmp_path), data)
    assert "melanoma" in said
    assert "found: 'mel' (" in said


def test_an_empty_class_is_not_taken_for_a_negative(tmp_path: Path) -> None:
    folder = any_folder(tmp_path)
    csv = folder / "labels.csv"
    csv.write_text(csv.read_text().replace("c,nv", "c,"))
    data = csv_data(image_col="file", target_col="dx", positive=("mel",))
    said = refused(folder, data)
    assert "1 rows whose dx is not a class name: row 3 (line 4)" in said
    assert "where it is blank, label the row or take it out of the table" in said


@pytest.mark.parametrize("name", ["nv", "NV", "Benign", "False", " non-melanoma"])
def test_a_benign_value_that_counts_as_melanoma_is_doubted(name: str, tmp_path: Path) -> None:
    folder = any_folder(tmp_path)
    csv = folder / "labels.csv"
    csv.write_text(csv.read_text().replace("c,nv", f"c,{name}"))
    data = csv_data(image_col="file", target_col="dx", positive=("mel", name.strip()))
    doubt = f"data.positive counts {name.strip()!r} as melanoma: is that so?"
    assert doubt in read_lesions(folder, data).warnings
    data = csv_data(image_col="file", target_col="dx", positive=("mel",))
    assert not read_lesions(folder, data).warnings


def test_a_benign_value_that_labels_say_is_melanoma_is_doubted(tmp_path: Path) -> None:
    folder = any_folder(tmp_path)
    swapped = csv_data(
        image_col="file", target_col="dx", labels={"mel": "benign", "nv": "melanoma"}
    )
    assert (
        "data.labels counts 'nv' as melanoma: is that so?" in read_lesions(folder, swapped).warnings
    )
    meant = csv_data(image_col="file", target_col="dx", labels={"mel": "melanoma", "nv": "benign"})
    assert not read_lesions(folder, meant).warnings


@pytest.mark.parametrize("name", ["no-melanoma", "non_melanoma", "Not melanoma", "nonmelanoma"])
def test_what_says_that_it_is_no_melanoma_is_not_doubted(name: str, tmp_path: Path) -> None:
    folder = any_folder(tmp_path)
    csv = folder / "labels.csv"
    csv.write_text(csv.read_text().replace("c,nv", f"c,{name}"))
    data = csv_data(image_col="file", target_col="dx", positive=("mel",))
    assert not read_lesions(folder, data).warnings


@pytest.mark.parametrize(
    "name", ["Melanoma in situ", "nodular_melanoma", "melanoma_2", "Melanomas"]
)
def test_a_melanoma_that_counts_as_benign_is_doubted(name: str, tmp_path: Path) -> None:
    folder = any_folder(tmp_path)
    csv = folder / "labels.csv"
    csv.write_text(csv.read_text().replace("c,nv", f"c,{name}"))
    doubt = f"data.positive leaves out {name!r}, which count as benign: is that so?"
    data = csv_data(image_col="file", target_col="dx", positive=("mel",))
    assert doubt in read_lesions(folder, data).warnings
    data = csv_data(image_col="file", target_col="dx", positive=("mel", name))
    assert not read_lesions(folder, data).warnings


def test_another_spelling_of_melanoma_is_refused_and_not_doubted_as_well(tmp_path: Path) -> None:
    folder = any_folder(tmp_path)
    csv = folder / "labels.csv"
    csv.write_text(csv.read_text().replace("mel", "melanoma").replace("c,nv", "c,Melanoma"))
    data = csv_data(image_col="file", target_col="dx", positive=("melanoma",))
    found = read_lesions(folder, data)
    assert any("every spelling" in problem for problem in found.problems)
    assert not any("leaves out" in warning for warning in found.warnings)


def test_a_column_of_melanomas_that_counts_as_benign_is_doubted(tmp_path: Path) -> None:
    folder = any_folder(tmp_path)
    (folder / "labels.csv").write_text(
        "file,nevus,Melanoma,Melanoma in situ\na,1,0,0\nb,0,1,0\nc,0,0,1\n"
    )
    columns = ("nevus", "Melanoma", "Melanoma in situ")
    data = csv_data(image_col="file", target_cols=columns, positive=("Melanoma",))
    said = read_lesions(folder, data).warnings
    assert any("leaves out 'Melanoma in situ'" in sentence for sentence in said)


def test_a_column_named_as_none_whose_1_counts_as_melanoma_is_doubted(tmp_path: Path) -> None:
    folder = any_folder(tmp_path)
    for column, doubted in (("Benign", True), ("nv", True), ("target", False)):
        (folder / "labels.csv").write_text(f"file,{column}\na,1\nb,0\nc,0\n")
        said = read_lesions(folder, csv_data(image_col="file", target_col=column)).warnings
        doubt = f"each 1 of the column {column} counts as melanoma: is that so?"
        assert (doubt in said) == doubted
    (folder / "labels.csv").write_text("file,nv\na,1\nb,0\nc,0\n")
    inverted = csv_data(image_col="file", target_col="nv", labels={"1": "benign", "0": "melanoma"})
    assert not any("each 1" in sentence for sentence in read_lesions(folder, inverted).warnings)


def test_a_table_without_a_line_of_names_is_told_so(tmp_path: Path) -> None:
    folder = any_folder(tmp_path)
    (folder / "labels.csv").write_text("ISIC_0000017,benign\nISIC_0000022,malignant\n")
    data = csv_data(image_col="file", target_col="dx", positive=("mel",))
    assert "its first line looks like a row" in refused(folder, data)
    (folder / "labels.csv").write_text("image1,dx\nISIC_0000022,malignant\n")
    assert "looks like a row" not in refused(folder, data)


@pytest.mark.parametrize("column", ["group_col", "age_col", "sex_col", "site_col"])
def test_every_named_column_must_be_there(column: str, tmp_path: Path) -> None:
    options = {"image_col": "file", "target_col": "dx", "positive": ("mel",), column: "wo"}
    said = refused(any_folder(tmp_path), csv_data(**options))
    assert "lacks wo" in said
    assert "columns found: file, dx, who" in said


def test_every_column_to_keep_must_be_there(tmp_path: Path) -> None:
    options = {"image_col": "file", "target_col": "dx", "positive": ("mel",)}
    assert "lacks wo" in refused(any_folder(tmp_path), csv_data(**options, keep_cols=("wo",)))


def test_two_tables_are_a_question_and_a_name_is_the_answer(tmp_path: Path) -> None:
    folder = any_folder(tmp_path)
    (folder / "other.csv").write_text("image_name,target\na,1\nb,0\n")
    said = refused(folder, csv_data())
    assert "labels.csv, other.csv" in said
    assert "--set data.table=FILE" in said
    table = read_lesions(folder, csv_data(table="other.csv")).require_sound()
    assert table.names == ["a", "b"]


def test_a_folder_without_a_table_is_refused(tmp_path: Path) -> None:
    assert "(none)" in refused(tmp_path, csv_data())


THREE = ("melanoma", "melanocytic nevus", "vascular lesion")


CODES = {"mel": "melanoma", "nv": "melanocytic nevus", "vasc": "vascular lesion"}


def test_a_table_of_codes_becomes_class_numbers_and_names(tmp_path: Path) -> None:
    folder = coded_folder(tmp_path, "vasc", "mel", "nv", "nv")
    table = read_lesions(folder, csv_data(labels=CODES), classes=THREE).require_sound()
    assert table.frame["target"].tolist() == [2, 0, 1, 1]
    assert table.frame["label"].tolist() == [
        "vascular lesion",
        "melanoma",
        "melanocytic nevus",
        "melanocytic nevus",
    ]


def test_a_table_of_names_needs_no_map(tmp_path: Path) -> None:
    folder = coded_folder(tmp_path, *THREE[::-1])
    table = read_lesions(folder, csv_data(), classes=THREE).require_sound()
    assert table.frame["target"].tolist() == [2, 1, 0]


def test_an_unknown_code_and_an_absent_class_are_refused_together(tmp_path: Path) -> None:
    folder = coded_folder(tmp_path, "mel", "nv", "scc")
    with pytest.raises(DataError) as caught:
        read_lesions(folder, csv_data(labels=CODES), classes=THREE).require_sound()
    assert "row 3 (line 4): 'scc'" in str(caught.value)
    assert "no row's target means 'vascular lesion'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_folder_of_images_may_be_named(tmp_path: Path) -> None:
    folder = coded_folder(tmp_path, "mel", "nv")
    for name in ("small/i0.jpg", "small/i1.jpg", "large/i0.jpg", "large/i1.jpg"):
        picture(folder / name)
    data = csv_data(positive=("mel",))
    unmatched = read_lesions(folder, data).unmatched
    assert unmatched["i1"] == "2 files have that name: large/i1.jpg, small/i1.jpg"
    data = csv_data(positive=("mel",), images="small")
    assert read_lesions(folder, data).frame["source"].tolist() == ["small/i0.jpg", "small/i1.jpg"]
