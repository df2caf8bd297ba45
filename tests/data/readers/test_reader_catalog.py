"""Readers: what a folder holds becomes a LesionTable, or one refusal that says what to mend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from melanoma.data.readers.labels import HAM10000_CLASSES
from melanoma.data.readers.reader_catalog import READERS, read_lesions, read_test_lesions
from melanoma.data.readers.table import COLUMNS, LesionTable
from melanoma.errors import DataError
from melanoma.recipe.data_sections import CsvFolderData, Data, HamData, PhantomData, SiimData

SIIM = SiimData(reader="siim")
PHANTOMS = PhantomData(reader="phantoms", images=40, patients=12, size=32)


def siim_folder(folder: Path, csv: str | bytes, images: tuple[str, ...] = ()) -> Path:
    (folder / "jpeg/train").mkdir(parents=True)
    data = csv if isinstance(csv, bytes) else csv.encode()
    (folder / "train.csv").write_bytes(data)
    for name in images:
        (folder / "jpeg/train" / name).write_bytes(b"not decoded here")
    return folder


def rows(*targets: object) -> str:
    lines = [f"i{n},p{n},{target}" for n, target in enumerate(targets)]
    return "image_name,patient_id,target\n" + "\n".join(lines) + "\n"


def refused(folder: Path, data: Data = SIIM) -> str:
    with pytest.raises(DataError) as caught:
        read_lesions(folder, data).require_sound()
    return str(caught.value)


def csv_data(**options: Any) -> CsvFolderData:
    return CsvFolderData(reader="csv_folder", **options)


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


# Any CSV beside any folder.


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 20)).save(path)


def any_folder(folder: Path) -> Path:
    for name in ("deep/er/a.png", "b.JPG", "c.jpeg", "d.webp", "e.e.jpg"):
        picture(folder / name)
    (folder / "labels.csv").write_text(
        "file,dx,who,years,gender,where\n"
        "a,mel,p1,50,male,back\n"
        "b.JPG,nv,p1,,female,\n"
        "c,nv,p2,61.5,,arm\n"
        "deep/er/d,mel,p2,old,male,arm\n"
        "e.e,nv,p3,30,male,arm\n"
    )
    return folder


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
    assert "1 rows whose dx is not a class name: row 3 (line 4)" in refused(folder, data)


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


def test_a_table_with_problems_is_read_and_only_then_refused(tmp_path: Path) -> None:
    """So that check can go on to the images and say everything at once."""
    table = read_lesions(siim_folder(tmp_path, rows(0, "x")), SIIM)
    assert isinstance(table, LesionTable)
    assert len(table.problems) == 1
    with pytest.raises(DataError):
        table.require_sound()


# Several classes.

THREE = ("melanoma", "melanocytic nevus", "vascular lesion")
CODES = {"mel": "melanoma", "nv": "melanocytic nevus", "vasc": "vascular lesion"}


def coded_folder(folder: Path, *codes: str) -> Path:
    lines = [f"i{n},{code},l{n // 2}" for n, code in enumerate(codes)]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "any.csv").write_text("image_name,target,lesion\n" + "\n".join(lines) + "\n")
    return folder


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


def test_of_two_classes_the_label_is_the_target_s_name(tmp_path: Path) -> None:
    frame = read_lesions(siim_folder(tmp_path, rows(0, 1, 0)), SIIM).frame
    assert frame["label"].tolist() == ["benign", "melanoma", "benign"]


def test_an_unlabeled_test_set_has_neither_target_nor_label(phantom_set: Path) -> None:
    table = read_test_lesions(phantom_set, SIIM)
    assert table is not None
    assert set(table.frame["target"]) == {-1}
    assert set(table.frame["label"]) == {""}


# HAM10000.

HAM = HamData(reader="ham10000")
SEVEN = tuple(HAM10000_CLASSES.values())
HEADER = "lesion_id,image_id,dx,dx_type,age,sex,localization\n"


def ham_folder(folder: Path, *rows: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "HAM10000_metadata.csv").write_text(HEADER + "".join(f"{row}\n" for row in rows))
    return folder


def all_codes() -> list[str]:
    return [f"L{n},I{n},{code},histo,40.0,male,back" for n, code in enumerate(HAM10000_CLASSES)]


def test_ham10000_is_read_as_it_is_published(tmp_path: Path) -> None:
    folder = ham_folder(tmp_path, *all_codes(), "L0,I7,akiec,histo,,unknown,unknown")
    for name in ("a/HAM10000_images_part_1/I0.jpg", "HAM10000_images_part_2/deep/I1.jpg"):
        picture(folder / name)
    # Elsewhere below the folder there may be anything, such as the masks of the same names.
    for name in ("masks/I0.png", "ham10000_images_part_1/I1.jpg", "I2.jpg"):
        picture(folder / name)
    frame = read_lesions(folder, HAM, classes=SEVEN).require_sound().frame
    assert frame["image_name"].tolist() == [f"I{n}" for n in range(8)]
    assert frame["target"].tolist() == [0, 1, 2, 3, 4, 5, 6, 0]
    assert frame["label"].tolist() == [*SEVEN, SEVEN[0]]
    assert frame["lesion_id"].tolist() == [*(f"L{n}" for n in range(7)), "L0"]
    assert set(frame["patient_id"]) == {""}
    assert set(frame["reference_standard"]) == {"histology"}
    assert frame["source"].tolist()[:3] == [
        "a/HAM10000_images_part_1/I0.jpg",
        "HAM10000_images_part_2/deep/I1.jpg",
        "",
    ]
    assert frame["sex"].tolist()[6:] == ["male", ""]
    assert frame["site"].tolist()[6:] == ["back", ""]
    assert np.array_equal(frame["age"][6:], [40.0, np.nan], equal_nan=True)


def test_ham10000_is_melanoma_against_the_rest_for_two_classes(tmp_path: Path) -> None:
    frame = read_lesions(ham_folder(tmp_path, *all_codes()), HAM).require_sound().frame
    assert frame["image_name"][frame["target"] == 1].tolist() == ["I4"]
    assert frame["label"].tolist() == ["benign"] * 4 + ["melanoma"] + ["benign"] * 2


@pytest.mark.parametrize("classes", [SEVEN, ("benign", "melanoma")])
def test_an_unknown_diagnosis_is_refused_with_its_row(
    classes: tuple[str, ...], tmp_path: Path
) -> None:
    folder = ham_folder(tmp_path, *all_codes(), "L9,I9,scc,histo,40.0,male,back")
    with pytest.raises(DataError, match=r"1 rows whose dx .*row 8 \(line 9\): 'scc'") as refused:
        read_lesions(folder, HAM, classes=classes).require_sound()
    assert "add VALUE: CLASS to data.labels" in str(refused.value)
    means = HamData(reader="ham10000", labels={"scc": classes[0]})
    frame = read_lesions(folder, means, classes=classes).require_sound().frame
    assert frame["label"].tolist()[-1] == classes[0]
    assert frame["label"].tolist()[4] == "melanoma"


def test_ham10000_s_codes_may_mean_classes_of_one_s_own(tmp_path: Path) -> None:
    classes = ("benign", "carcinoma", "melanoma")
    means = dict.fromkeys(HAM10000_CLASSES, "benign") | {"mel": "melanoma", "bcc": "carcinoma"}
    data = HamData(reader="ham10000", labels=means)
    folder = ham_folder(tmp_path, *all_codes())
    frame = read_lesions(folder, data, classes=classes).require_sound().frame
    assert frame["target"].tolist() == [0, 1, 0, 0, 2, 0, 0]
    del means["vasc"]
    data = HamData(reader="ham10000", labels=means)
    with pytest.raises(DataError, match=r"1 rows whose dx is not in data\.labels: .*'vasc'"):
        read_lesions(folder, data, classes=classes).require_sound()


def test_ham10000_without_its_table_or_a_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no table at .*HAM10000_metadata\.csv"):
        read_lesions(tmp_path, HAM, classes=SEVEN)
    (tmp_path / "HAM10000_metadata.csv").write_text("image_id,dx\nI0,nv\n")
    with pytest.raises(DataError, match=r"lacks .*lesion_id"):
        read_lesions(tmp_path, HAM, classes=SEVEN)
    assert read_test_lesions(tmp_path, HAM) is None


def s2_tree(folder: Path, train: tuple[int, ...], test: tuple[int, ...]) -> Path:
    """The seven rows with their images in the two folders of S2."""
    ham_folder(folder, *all_codes())
    for part, rows in (("train", train), ("test", test)):
        for row in rows:
            picture(folder / f"HAM10000_images_{part}/I{row}.jpg")
    return folder


def test_two_folders_of_ham10000_are_its_parts(tmp_path: Path) -> None:
    table = read_lesions(s2_tree(tmp_path, (0, 1, 2, 6), (3, 4, 5)), HAM, classes=SEVEN)
    frame = table.require_sound().frame
    assert frame["part"].tolist() == ["train"] * 3 + ["test"] * 3 + ["train"]
    assert frame["source"][3] == "HAM10000_images_test/I3.jpg"
    assert frame["source"][6] == "HAM10000_images_train/I6.jpg"


def test_one_folder_alone_is_no_part(tmp_path: Path) -> None:
    frame = read_lesions(s2_tree(tmp_path, (0, 1, 2), ()), HAM, classes=SEVEN).frame
    assert "part" not in frame
    assert frame["source"][0] == "HAM10000_images_train/I0.jpg"


def test_an_image_in_both_folders_is_refused_by_name(tmp_path: Path) -> None:
    table = read_lesions(s2_tree(tmp_path, (0, 1, 2, 3), (3, 4, 5, 6)), HAM, classes=SEVEN)
    with pytest.raises(DataError, match=r"1 images in both the train and the test folder: I3\.jpg"):
        table.require_sound()


def test_rows_without_an_image_are_missed_unless_the_recipe_lets_them_go(tmp_path: Path) -> None:
    folder = s2_tree(tmp_path, (0, 1), (3, 4))
    whole = read_lesions(folder, HAM, classes=SEVEN).require_sound()
    assert whole.frame["source"].tolist().count("") == 3
    assert whole.warnings == ("3 of 7 rows have no image; data.rows=with_image leaves them out",)
    data = HamData(reader="ham10000", rows="with_image")
    kept = read_lesions(folder, data, classes=SEVEN).require_sound()
    assert kept.names == ["I0", "I1", "I3", "I4"]
    assert kept.frame["part"].tolist() == ["train", "train", "test", "test"]
    assert kept.warnings == ("3 of 7 rows without an image left out (data.rows)",)


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


def test_one_folder_of_images_may_be_named(tmp_path: Path) -> None:
    folder = coded_folder(tmp_path, "mel", "nv")
    for name in ("small/i0.jpg", "small/i1.jpg", "large/i0.jpg", "large/i1.jpg"):
        picture(folder / name)
    data = csv_data(positive=("mel",))
    unmatched = read_lesions(folder, data).unmatched
    assert unmatched["i1"] == "2 files have that name: large/i1.jpg, small/i1.jpg"
    data = csv_data(positive=("mel",), images="small")
    assert read_lesions(folder, data).frame["source"].tolist() == ["small/i0.jpg", "small/i1.jpg"]


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


def test_the_set_as_published_has_a_row_for_every_image(real_data: Path) -> None:
    table = read_lesions(real_data / "ham10000", HAM, classes=SEVEN).require_sound()
    assert len(table) == 10_015
    assert table.unlabeled == ()
    assert (table.frame["source"] != "").all()


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


def test_an_unknown_lesion_is_joined_to_no_row(tmp_path: Path) -> None:
    """Case 04 in a table of lesions: `unknown` in two rows is not one lesion of two labels."""
    coded_folder(tmp_path, "L1", "unknown")
    (tmp_path / "t.csv").write_text("image_name,lesion_id\ni0,L1\ni1,unknown\n")
    (tmp_path / "l.csv").write_text("lesion_id,dx\nL1,mel\nunknown,nv\nunknown,mel\n")
    data = csv_data(target_col="dx", positive=("mel",), table="t.csv", join={"l.csv": "lesion_id"})
    found = read_lesions(tmp_path, data)
    assert found.frame["target"].tolist() == [1, -1]
    assert "1 rows whose lesion_id is not in l.csv: row 2 (line 3): 'unknown'" in found.warnings
