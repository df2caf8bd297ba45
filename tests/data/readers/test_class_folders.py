"""A folder a class: its images become rows with the class, the part and the group of each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from class_lists import DERMNET23, SKIN22, SKIN22_FOLDERS
from file_trees import tree

from melanoma.data.csv_tables import read_table
from melanoma.data.readers.class_folders import read_class_folders
from melanoma.data.readers.reader_catalog import read_lesions
from melanoma.data.readers.table import COLUMNS, LesionTable
from melanoma.errors import DataError
from melanoma.recipe.data_sections import ClassFolderData
from melanoma.recipe.overrides import load_recipe

CONFIGS = Path(__file__).resolve().parents[3] / "configs"


def read(folder: Path, classes: tuple[str, ...] = ("Acne", "Warts"), **data: Any) -> LesionTable:
    return read_class_folders(folder, ClassFolderData(reader="class_folders", **data), classes)


def refused(folder: Path, **data: Any) -> str:
    with pytest.raises(DataError) as caught:
        read(folder, **data).require_sound()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_folder_is_the_class_of_every_image_in_it_whatever_its_extension(tmp_path: Path) -> None:
    files = ("Acne/a.jpg", "Acne/b.JPEG", "Acne/deep/er/c.PnG", "Warts/a.webp", "Warts/d.Jpg")
    table = read(tree(tmp_path, *files)).require_sound()
    assert tuple(table.frame.columns) == COLUMNS
    assert table.names == ["Acne/a", "Acne/b", "Acne/deep/er/c", "Warts/a", "Warts/d"]
    assert table.frame["label"].tolist() == ["Acne"] * 3 + ["Warts"] * 2
    assert table.frame["target"].tolist() == [0, 0, 0, 1, 1]
    assert table.frame["source"].tolist() == list(files)
    assert set(table.frame["patient_id"]) == set(table.frame["lesion_id"]) == {""}
    assert table.warnings == ()


def test_classes_have_the_recipe_s_order_and_not_the_alphabet_s(tmp_path: Path) -> None:
    folder = tree(tmp_path, "Acne/a.jpg", "Warts/b.jpg")
    assert read(folder, ("Warts", "Acne")).frame["target"].tolist() == [1, 0]


def test_labels_say_what_a_folder_means_and_two_may_mean_one_class(tmp_path: Path) -> None:
    folder = tree(tmp_path, "acne_1/a.jpg", "acne_2/b.jpg", "Warts/c.jpg")
    labels = {"acne_1": "Acne", "acne_2": "Acne"}
    assert read(folder, labels=labels).require_sound().frame["target"].tolist() == [1, 0, 0]


def test_the_22_folders_become_the_22_names(tmp_path: Path) -> None:
    folder = tree(tmp_path, *(f"{name}/1.jpg" for name in SKIN22_FOLDERS))
    frame = read(folder, SKIN22, labels=SKIN22_FOLDERS).require_sound().frame
    assert sorted(frame["label"]) == sorted(SKIN22)
    found = dict(zip(frame["image_name"].str.split("/").str[0], frame["label"], strict=True))
    assert found == SKIN22_FOLDERS


def test_the_pattern_s_group_is_the_patient_or_the_lesion(tmp_path: Path) -> None:
    folder = tree(tmp_path, "Acne/p1_a.jpg", "Acne/p1_b.jpg", "Acne/p2_a.jpg", "Warts/p2_z.jpg")
    pattern = r"^(p\d+)_"
    frame = read(folder, group_pattern=pattern).require_sound().frame
    assert frame["patient_id"].tolist() == ["p1", "p1", "p2", "p2"]
    assert set(frame["lesion_id"]) == {""}
    frame = read(folder, group_pattern=pattern, group_is="lesion").require_sound().frame
    assert frame["lesion_id"].tolist() == ["p1", "p1", "p2", "p2"]
    assert set(frame["patient_id"]) == {""}


def test_a_file_name_that_the_pattern_does_not_fit_is_refused_by_name(tmp_path: Path) -> None:
    folder = tree(tmp_path, "Acne/p1_a.jpg", "Acne/other.jpg", "Warts/p2_z.jpg")
    said = refused(folder, group_pattern=r"^(p\d+)_")
    assert "1 file names that data.group_pattern does not fit: Acne/other.jpg" in said
    # Who wants such images to stand alone can say so.
    frame = read(folder, group_pattern=r"^(?:(p\d+)_)?").require_sound().frame
    assert frame["patient_id"].tolist() == ["", "p1", "p2"]


def test_a_folder_that_is_no_class_and_a_class_without_folder_are_named_together(
    tmp_path: Path,
) -> None:
    folder = tree(tmp_path, "Acne/a.jpg", "Wart/b.jpg", "Wart/c.jpg", "empty/readme.txt")
    said = refused(folder)
    assert "1 folders that are no class: 'Wart' (2 images)" in said
    assert "1 classes without an image: 'Warts'" in said
    assert "--set 'data.labels={Wart: CLASS, ...}'" in said
    assert "empty" not in said


@pytest.fixture
def ham_folders(real_data: Path, tmp_path: Path) -> Path:
    """Forty photographs of HAM10000, its codes as folders."""
    table = read_table(real_data / "ham10000/HAM10000_metadata.csv", needed=["image_id", "dx"])
    for row in table.groupby("dx").head(6).itertuples():
        folder = tmp_path / "tree" / str(row.dx)
        folder.mkdir(parents=True, exist_ok=True)
        image = real_data / f"ham10000/HAM10000_images/{row.image_id}.jpg"
        (folder / f"{row.lesion_id}-{row.image_id}.jpg").write_bytes(image.read_bytes())
    return tmp_path / "tree"


def test_real_photographs_in_class_folders_become_an_array_and_folds(
    ham_folders: Path, tmp_path: Path
) -> None:
    from melanoma.data.array_build import build_array
    from melanoma.data.folds import load_folds, make_folds, save_folds
    from melanoma.data.leaks import audit_folds
    from melanoma.data.readers.labels import HAM10000_CLASSES
    from melanoma.recipe.sections import Folds
    from melanoma.recipe.sections import Image as Rules

    classes = tuple(HAM10000_CLASSES.values())
    table = read(
        ham_folders, classes, labels=HAM10000_CLASSES, group_pattern="^(HAM_[0-9]+)-"
    ).require_sound()
    assert len(table) == 42
    array = build_array(table, tmp_path / "arrays", Rules(size=32))
    assert list(array.names) == table.names
    folds = make_folds(table, Folds(name="ham", k=3))
    save_folds(folds, tmp_path / "folds.csv")
    again = load_folds(tmp_path / "folds.csv", classes=classes)
    assert again.digest == folds.digest
    assert again.frame["image_name"].tolist() == table.names
    assert not audit_folds(folds).leaks


@pytest.mark.parametrize(
    ("name", "folders"),
    [
        ("dermnet_resnet152", {name: name for name in DERMNET23}),
        ("skin22_efficientnet_b3", SKIN22_FOLDERS),
    ],
)
def test_a_recipe_reads_the_folders_of_its_set_with_train_and_test(
    name: str, folders: dict[str, str], tmp_path: Path
) -> None:
    recipe = load_recipe(CONFIGS / f"{name}.yaml")
    files = (f"{part}/{folder}/1.jpg" for part in ("train", "test") for folder in folders)
    table = read_lesions(tree(tmp_path, *files), recipe.data, classes=recipe.classes)
    frame = table.require_sound().frame
    found = dict(zip(frame["image_name"].str.split("/").str[1], frame["label"], strict=True))
    assert found == folders
    assert sorted(recipe.classes) == sorted(folders.values())
    assert recipe.melanoma == ()
    assert frame["part"].value_counts().to_dict() == dict.fromkeys(("train", "test"), len(folders))


def test_parts_are_a_column_where_the_tree_has_them_alone(tmp_path: Path) -> None:
    flat = tree(tmp_path / "flat", "Acne/a.jpg", "Warts/b.jpg")
    assert "part" not in read(flat).frame
    files = ("train/Acne/a.jpg", "train/Warts/b.jpg", "test/Acne/c.jpg", "test/Warts/d.jpg")
    frame = read(tree(tmp_path / "parts", *files)).require_sound().frame
    assert dict(zip(frame["image_name"], frame["part"], strict=True)) == {
        "train/Acne/a": "train",
        "train/Warts/b": "train",
        "test/Acne/c": "test",
        "test/Warts/d": "test",
    }


def test_what_is_wrong_with_the_tree_the_pattern_and_the_labels_is_said_at_once(
    tmp_path: Path,
) -> None:
    folder = tree(tmp_path, "Acne/p1.jpg", "Acne/x.jpg", "Mole/p2.jpg", "loose.jpg", "Acne/a.txt")
    found = read(folder, group_pattern=r"^(p\d+)$")
    said = "; ".join(found.problems)
    for part in ("1 images in no class folder", "does not fit: Acne/x.jpg", "'Mole' (1 images)"):
        assert part in said
    assert found.warnings == ("1 files left out, for they are no images: Acne/a.txt",)
