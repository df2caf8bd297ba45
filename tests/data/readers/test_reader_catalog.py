"""Readers: what a folder holds becomes a LesionTable, or one refusal that says what to mend."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from reader_folders import (
    HAM,
    SEVEN,
    SIIM,
    all_codes,
    any_folder,
    coded_folder,
    csv_data,
    ham_folder,
    picture,
    refused,
    rows,
    s2_tree,
    siim_folder,
)

from melanoma.data.readers.reader_catalog import READERS, read_lesions, read_test_lesions
from melanoma.data.readers.table import COLUMNS, LesionTable
from melanoma.errors import DataError
from melanoma.recipe.data_sections import PhantomData

PHANTOMS = PhantomData(reader="phantoms", images=40, patients=12, size=32)


def test_the_readers_of_the_recipe_are_the_readers_there_are() -> None:
    known = {"siim", "csv_folder", "ham10000", "class_folders", "phantoms", "npy_arrays"}
    assert set(READERS) == known | {"isic", "isic2024", "tfrecord"}


def test_siim_rows_come_in_csv_order_with_every_column(phantom_set: Path) -> None:
    csv = pd.read_csv(phantom_set / "train.csv")
    table = read_lesions(phantom_set, SIIM).require_sound()
    frame = table.frame
    assert tuple(frame.columns) == (*COLUMNS, "diagnosis")
    assert frame["diagnosis"].tolist() == csv["diagnosis"].replace("unknown", "").tolist()
    assert table.names == csv["image_name"].tolist()
    assert frame["patient_id"].tolist() == csv["patient_id"].tolist()
    assert frame["target"].tolist() == csv["target"].tolist()
    assert frame["sex"].tolist() == csv["sex"].fillna("").tolist()
    assert frame["site"].tolist() == csv["anatom_site_general_challenge"].fillna("").tolist()
    assert np.array_equal(frame["age"], csv["age_approx"], equal_nan=True)
    assert all((phantom_set / source).is_file() for source in frame["source"])
    assert all(Path(s).stem == n for s, n in zip(frame["source"], table.names, strict=True))


def test_the_test_table_has_no_targets(phantom_set: Path) -> None:
    table = read_test_lesions(phantom_set, SIIM)
    assert table is not None
    assert set(table.frame["target"]) == {-1}
    assert all(source.startswith("jpeg/test/") for source in table.frame["source"])
    assert read_test_lesions(phantom_set, csv_data()) is None
    assert read_test_lesions(phantom_set / "jpeg", SIIM) is None


def test_phantoms_are_drawn_once_and_then_read(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    drawn = read_lesions(folder, PHANTOMS).require_sound()
    assert len(drawn) == 40
    assert all((folder / source).is_file() for source in drawn.frame["source"])
    before = (folder / "train.csv").stat().st_mtime_ns
    again = read_lesions(folder, PHANTOMS)
    assert again.names == drawn.names
    assert (folder / "train.csv").stat().st_mtime_ns == before


def test_an_image_that_is_not_there_has_no_source(tmp_path: Path) -> None:
    table = read_lesions(siim_folder(tmp_path, rows(0, 1), ("i1.jpg",)), SIIM).require_sound()
    assert table.frame["source"].tolist() == ["", "jpeg/train/i1.jpg"]


# Row 46: the table as a file.


def test_an_absent_table_is_named(tmp_path: Path) -> None:
    assert str(tmp_path / "train.csv") in refused(tmp_path)


def test_an_empty_table_says_what_it_needs(tmp_path: Path) -> None:
    said = refused(siim_folder(tmp_path, " \n"))
    assert "is empty" in said
    assert "image_name, patient_id, target" in said


def test_a_header_without_rows_is_refused(tmp_path: Path) -> None:
    assert "no rows" in refused(siim_folder(tmp_path, "image_name,patient_id,target\n"))


@pytest.mark.parametrize(
    ("header", "hint"),
    [
        ("image_name,patient,target", "patient_id (did you mean patient?)"),
        ("Image_Name,patient_id,target", "image_name (did you mean Image_Name?)"),
        ("image_name,patient_id,label", "lacks target;"),
    ],
)
def test_a_missing_column_is_named_with_those_found_and_a_guess(
    header: str, hint: str, tmp_path: Path
) -> None:
    said = refused(siim_folder(tmp_path, f"{header}\na,b,1\n"))
    assert hint in said
    assert f"columns found: {header.replace(',', ', ')}" in said
    assert "needed: image_name, patient_id, target" in said


def test_a_byte_order_mark_is_refused_with_its_cure(tmp_path: Path) -> None:
    said = refused(siim_folder(tmp_path, b"\xef\xbb\xbf" + rows(0, 1).encode()))
    assert "byte-order mark" in said
    assert "plain UTF-8" in said


@pytest.mark.parametrize("separator", [";", "\t"])
def test_another_separator_is_refused_with_the_header_it_found(
    separator: str, tmp_path: Path
) -> None:
    said = refused(siim_folder(tmp_path, rows(0, 1).replace(",", separator)))
    assert "not separated by commas" in said
    assert "image_name" in said
    assert "needed: image_name, patient_id, target" in said


def test_a_table_in_another_encoding_is_refused(tmp_path: Path) -> None:
    csv = rows(0, 1).replace("p0", "Müller")
    assert "not UTF-8" in refused(siim_folder(tmp_path, csv.encode("latin-1")))
    assert read_lesions(siim_folder(tmp_path / "utf8", csv), SIIM).frame["patient_id"][0] == (
        "Müller"
    )


@pytest.mark.parametrize(
    "csv",
    [
        "image_name,patient_id,target\ni0,p0,0,surplus\ni1,p1,1,surplus\n",
        "image_name,patient_id,target\ni0,p0,0,\ni1,p1,1,\n",
    ],
)
def test_surplus_cells_never_shift_the_columns(csv: str, tmp_path: Path) -> None:
    assert "more cells" in refused(siim_folder(tmp_path, csv))


def test_a_single_ragged_row_is_refused_with_its_line(tmp_path: Path) -> None:
    assert "line 3" in refused(siim_folder(tmp_path, rows(0, "1,surplus", 0)))


def test_a_needed_column_may_stand_only_once(tmp_path: Path) -> None:
    csv = "image_name,patient_id,target,target\ni0,p0,0,1\n"
    assert "more than one column target" in refused(siim_folder(tmp_path, csv))


def test_windows_line_ends_and_spaces_around_cells_do_no_harm(tmp_path: Path) -> None:
    csv = "image_name,patient_id,target\r\n i0 ,p0, 1\r\ni1,p1 ,0\r\n"
    frame = read_lesions(siim_folder(tmp_path, csv), SIIM).require_sound().frame
    assert frame["image_name"].tolist() == ["i0", "i1"]
    assert frame["patient_id"].tolist() == ["p0", "p1"]
    assert frame["target"].tolist() == [1, 0]


@pytest.mark.parametrize(
    "header", ["image_name, patient_id ,target", "image_name,patient_id,\ttarget\u00a0"]
)
def test_spaces_around_headers_are_no_part_of_them(header: str, tmp_path: Path) -> None:
    csv = rows(0, 1).replace("image_name,patient_id,target", header)
    frame = read_lesions(siim_folder(tmp_path, csv), SIIM).require_sound().frame
    assert frame["target"].tolist() == [0, 1]
    assert frame["patient_id"].tolist() == ["p0", "p1"]


def test_headers_that_differ_by_a_space_alone_are_one_column_twice(tmp_path: Path) -> None:
    csv = "image_name,patient_id,target,target \ni0,p0,0,1\n"
    assert "more than one column target" in refused(siim_folder(tmp_path, csv))


def test_a_table_s_letters_are_composed(tmp_path: Path) -> None:
    csv = rows(0, 1).replace("i0", "Mu\u0308ller")
    table = read_lesions(siim_folder(tmp_path, csv, ("M\u00fcller.jpg",)), SIIM)
    assert table.names[0] == "M\u00fcller"
    assert table.frame["source"][0] == "jpeg/train/M\u00fcller.jpg"


def test_ages_and_sexes_are_read_and_the_rest_is_shown(tmp_path: Path) -> None:
    csv = (
        "image_name,patient_id,target,age_approx,sex\n"
        'i0,p0,0,"45,0",FEMALE\ni1,p1,1,AGE_30_TO_39,M\ni2,p2,0,999,unknown\ni3,p3,0,unknown,male\n'
    )
    table = read_lesions(siim_folder(tmp_path, csv), SIIM).require_sound()
    assert np.array_equal(table.frame["age"], [45, 34.5, np.nan, np.nan], equal_nan=True)
    assert table.frame["sex"].tolist() == ["female", "male", "", "male"]
    assert "row 2 (line 3): 'AGE_30_TO_39'" in table.warnings[0]
    assert table.warnings[1].startswith("1 ages left blank")
    assert "row 3 (line 4): '999'" in table.warnings[1]


# Row 47: targets.


def test_targets_that_are_neither_0_nor_1_are_shown_with_their_lines(tmp_path: Path) -> None:
    said = refused(siim_folder(tmp_path, rows(0, 1, "x", "NaN", 2, "", "1.5", "-1", "yes")))
    assert "7 rows whose target is not 0 or 1" in said
    assert "row 3 (line 4): 'x', row 4 (line 5): '', row 5 (line 6): '2'" in said
    assert said.count("(line ") == 5
    assert "and 2 more" in said


def test_whole_numbers_written_as_decimals_are_targets(tmp_path: Path) -> None:
    table = read_lesions(siim_folder(tmp_path, rows("0.0", "1.0", 1)), SIIM)
    assert table.require_sound().frame["target"].tolist() == [0, 1, 1]


def test_class_names_as_targets_are_refused_with_the_setting_that_reads_them(
    tmp_path: Path,
) -> None:
    said = refused(siim_folder(tmp_path, rows("nv", "mel", "nv")))
    assert "the values are 'mel' (1), 'nv' (2): list those that count as melanoma" in said
    assert "--set 'data.positive=[VALUE, ...]'" in said


# Row 48: repeated images.


def test_a_repeated_row_is_dropped_with_a_warning(tmp_path: Path) -> None:
    csv = rows(0, 1, 0) + "i1,p1,1\n"
    table = read_lesions(siim_folder(tmp_path, csv), SIIM).require_sound()
    assert table.names == ["i0", "i1", "i2"]
    assert len(table.warnings) == 1
    assert "1 repeated row" in table.warnings[0]


@pytest.mark.parametrize("knows", ["first", "last"])
def test_a_repeated_row_leaves_the_patient_that_it_names(knows: str, tmp_path: Path) -> None:
    blank, named = ("i1,p1,1\n", "i1,,1\n") if knows == "first" else ("i1,,1\n", "i1,p1,1\n")
    csv = "image_name,patient_id,target\ni0,p1,0\n" + blank + named
    table = read_lesions(siim_folder(tmp_path, csv), SIIM).require_sound()
    assert table.frame["patient_id"].tolist() == ["p1", "p1"]


def test_one_image_of_two_patients_is_refused_by_name(tmp_path: Path) -> None:
    csv = rows(0, 1, 0) + "i1,p7,1\n"
    said = refused(siim_folder(tmp_path, csv))
    assert "1 images stand twice with different patient_id: i1" in said


def test_one_image_with_two_targets_is_refused_by_name(tmp_path: Path) -> None:
    csv = rows(0, 1, 0) + "i1,p1,0\n"
    assert "1 images stand twice with different targets: i1" in refused(siim_folder(tmp_path, csv))


def test_a_row_without_a_name_is_refused(tmp_path: Path) -> None:
    assert "1 rows without image_name: row 3" in refused(
        siim_folder(tmp_path, rows(0, 1) + ",p,0\n")
    )


def test_all_faults_of_a_table_are_said_at_once(tmp_path: Path) -> None:
    said = refused(siim_folder(tmp_path, rows(0, 1, "x") + "i1,p1,0\n,p,0\n"))
    assert "not 0 or 1" in said
    assert "different targets" in said
    assert "without image_name" in said


def test_a_table_with_problems_is_read_and_only_then_refused(tmp_path: Path) -> None:
    """So that check can go on to the images and say everything at once."""
    table = read_lesions(siim_folder(tmp_path, rows(0, "x")), SIIM)
    assert isinstance(table, LesionTable)
    assert len(table.problems) == 1
    with pytest.raises(DataError):
        table.require_sound()


# Labels.


def test_of_two_classes_the_label_is_the_target_s_name(tmp_path: Path) -> None:
    frame = read_lesions(siim_folder(tmp_path, rows(0, 1, 0)), SIIM).frame
    assert frame["label"].tolist() == ["benign", "melanoma", "benign"]


def test_an_unlabeled_test_set_has_neither_target_nor_label(phantom_set: Path) -> None:
    table = read_test_lesions(phantom_set, SIIM)
    assert table is not None
    assert set(table.frame["target"]) == {-1}
    assert set(table.frame["label"]) == {""}


# All readers alike.


def test_images_that_no_row_names_are_known(tmp_path: Path) -> None:
    folder = s2_tree(tmp_path / "ham", (0, 1, 2, 6), (3, 4, 5))
    picture(folder / "HAM10000_images_test/other.jpg")
    found = read_lesions(folder, HAM, classes=SEVEN).unlabeled
    assert found == ("HAM10000_images_test/other.jpg",)
    picture(folder / "photos/I0.jpg")
    [said] = read_lesions(folder, HAM, classes=SEVEN).warnings
    assert said == "1 images in no folder HAM10000_images* passed over: photos/I0.jpg"
    folder = siim_folder(tmp_path / "siim", rows(0, 1), ("i0.jpg", "i1.jpg", "i2.jpg"))
    assert read_lesions(folder, SIIM).unlabeled == ("jpeg/train/i2.jpg",)
    folder = any_folder(tmp_path / "any")
    data = csv_data(image_col="file", target_col="dx", positive=("mel",))
    assert read_lesions(folder, data).unlabeled == ("d.webp",)


def test_every_reader_passes_over_the_same_files(tmp_path: Path) -> None:
    hidden = ("._i0.jpg", "@eaDir/i0.jpg/SYNOPHOTO_THUMB_M.jpg")
    said = "2 hidden or system files passed over"
    siim = siim_folder(tmp_path / "siim", rows(0, 1), ("i0.jpg", "i1.jpg"))
    ham = ham_folder(tmp_path / "ham", *all_codes())
    plain = coded_folder(tmp_path / "any", "mel", "nv")
    for inside in (siim / "jpeg/train", ham / "HAM10000_images_part_1", plain / "images"):
        for name in (*hidden, "i0.jpg"):
            picture(inside / name)
    for folder, data in ((siim, SIIM), (ham, HAM), (plain, csv_data(positive=("mel",)))):
        table = read_lesions(folder, data)
        assert any(said in warning for warning in table.warnings), folder
        assert not [name for name in table.unlabeled if "_i0" in name or "@eaDir" in name]


def test_lines_that_end_as_on_old_macs_are_lines(tmp_path: Path) -> None:
    csv = "image_name,patient_id,target\ri0,p,0\ri1,q,1\r"
    assert len(read_lesions(siim_folder(tmp_path, csv.encode(), ()), SIIM)) == 2


@pytest.mark.parametrize("start", [b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"PAR1"])
def test_a_spreadsheet_is_refused_by_that_name(start: bytes, tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_bytes(start + b"image_name,patient_id,target")
    assert "no CSV but a spreadsheet" in refused(tmp_path)
    (tmp_path / "train.csv").rename(tmp_path / "t.xlsx")
    with pytest.raises(DataError, match=r"not one CSV \(but t\.xlsx, which must be saved as CSV\)"):
        read_lesions(tmp_path, csv_data())
