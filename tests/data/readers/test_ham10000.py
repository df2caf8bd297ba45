"""HAM10000: as it was published, in the two folders of S2, and with codes of one's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from reader_folders import (
    HAM,
    SEVEN,
    all_codes,
    ham_folder,
    picture,
    s2_tree,
)

from melanoma.data.readers.labels import HAM10000_CLASSES
from melanoma.data.readers.reader_catalog import read_lesions, read_test_lesions
from melanoma.errors import DataError
from melanoma.recipe.data_sections import HamData


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


def test_the_set_as_published_has_a_row_for_every_image(real_data: Path) -> None:
    table = read_lesions(real_data / "ham10000", HAM, classes=SEVEN).require_sound()
    assert len(table) == 10_015
    assert table.unlabeled == ()
    assert (table.frame["source"] != "").all()
