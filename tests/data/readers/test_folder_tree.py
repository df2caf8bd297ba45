"""Class folders: every image has one name, one class and one part, or the tree is refused."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from melanoma.data.csv_tables import read_table
from melanoma.data.readers.folder_tree import find_class_images, read_groups
from melanoma.data.readers.reader_catalog import read_lesions
from melanoma.data.readers.table import LesionTable
from melanoma.errors import DataError
from melanoma.recipe.data_sections import ClassFolderData
from melanoma.storage import write_text

# What a name may hold: spaces, commas, quotes, ampersands, slashes' neighbors, other alphabets.
ODD = ("Infestations & Bites", 'Rash, "other"', "Nævus à la carte", "皮膚")


def tree(folder: Path, *files: str) -> Path:
    for file in files:
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"not decoded here")
    return folder


def read(folder: Path, classes: tuple[str, ...] = ("Acne", "Warts"), **data: Any) -> LesionTable:
    return read_lesions(folder, ClassFolderData(reader="class_folders", **data), classes=classes)


def refused(folder: Path, classes: tuple[str, ...] = ("Acne", "Warts"), **data: Any) -> str:
    with pytest.raises(DataError) as caught:
        read(folder, classes, **data).require_sound()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(("train", "test"), [("train", "test"), ("Train", "TEST")])
def test_train_and_test_are_parts_and_not_classes(train: str, test: str, tmp_path: Path) -> None:
    folder = tree(
        tmp_path,
        f"{test}/Acne/a.jpg",
        f"{test}/Warts/a.jpg",
        f"{train}/Acne/a.jpg",
        f"{train}/Warts/z.jpg",
    )
    frame = read(folder).require_sound().frame
    assert frame["image_name"].tolist() == [
        f"{train}/Acne/a",
        f"{train}/Warts/z",
        f"{test}/Acne/a",
        f"{test}/Warts/a",
    ]
    assert frame["part"].tolist() == ["train", "train", "test", "test"]
    assert frame["label"].tolist() == ["Acne", "Warts", "Acne", "Warts"]


@pytest.mark.parametrize("valid", ["valid", "val", "Validation", "dev"])
@pytest.mark.parametrize("test", [(), ("test/Acne/a.jpg", "test/Warts/b.jpg")])
def test_a_validation_folder_is_a_given_single_split(
    valid: str, test: tuple[str, ...], tmp_path: Path
) -> None:
    from melanoma.data.folds import make_folds
    from melanoma.recipe.sections import Folds

    files = ("train/Acne/a.jpg", "train/Warts/b.jpg", f"{valid}/Acne/c.jpg", f"{valid}/Warts/d.jpg")
    table = read(tree(tmp_path, *files, *test)).require_sound()
    assert table.frame["part"].tolist() == ["train"] * 2 + ["valid"] * 2 + ["test"] * len(test)
    folds = make_folds(table, Folds(name="x", k=5))
    assert folds.folds == [0]
    training, held_out = folds.rows(0)
    names = folds.frame["image_name"]
    assert names[training].tolist() == ["train/Acne/a", "train/Warts/b"]
    assert names[held_out].tolist() == [f"{valid}/Acne/c", f"{valid}/Warts/d"]
    assert folds.test["image_name"].str.startswith("test/").sum() == len(test)
    assert len(folds) == len(table)
    pooled = make_folds(table, Folds(name="x", k=2, own_validation="pooled"))
    assert pooled.folds == [0, 1]


def test_a_validation_folder_that_lacks_a_class_is_refused(tmp_path: Path) -> None:
    from melanoma.data.folds import make_folds
    from melanoma.errors import FoldError
    from melanoma.recipe.sections import Folds

    table = read(tree(tmp_path, "train/Acne/a.jpg", "train/Warts/b.jpg", "val/Acne/c.jpg"))
    with pytest.raises(FoldError, match="its own valid part has no image of Warts"):
        make_folds(table, Folds(name="x", k=5))


def test_two_folders_of_one_part_are_a_guess(tmp_path: Path) -> None:
    folder = tree(tmp_path, "train/Acne/a.jpg", "val/Warts/b.jpg", "valid/Acne/c.jpg")
    assert "val, valid are one part; keep one" in refused(folder)


def test_one_part_alone_is_a_folder_like_any_other(tmp_path: Path) -> None:
    folder = tree(tmp_path, "train/Acne/a.jpg", "train/Warts/b.jpg")
    assert "'train' (2 images)" in refused(folder)
    assert "part" not in read(folder / "train").require_sound().frame


def test_parts_that_differ_by_case_alone_are_a_guess(tmp_path: Path) -> None:
    folder = tree(tmp_path, "Train/Acne/a.jpg", "train/Warts/b.jpg", "test/Acne/c.jpg")
    if len(list(folder.iterdir())) < 3:
        pytest.skip("needs a file system that tells cases apart")
    assert "differ by nothing but case" in refused(folder)


def test_an_image_beside_the_class_folders_has_no_class(tmp_path: Path) -> None:
    folder = tree(tmp_path, "Acne/a.jpg", "Warts/b.jpg", "loose.png")
    assert "1 images in no class folder: loose.png" in refused(folder)
    parts = tree(
        tmp_path / "parts",
        *("train/Acne/a.jpg", "train/Warts/b.jpg", "test/Acne/c.jpg", "test/Warts/d.jpg"),
        *("train/loose.jpg", "other/Acne/e.jpg"),
    )
    said = refused(parts)
    assert "2 images in no class folder: other/Acne/e.jpg, train/loose.jpg" in said
    assert "train/ and test/ are there" in said


def test_many_foreign_folders_are_counted_and_five_are_named(tmp_path: Path) -> None:
    folder = tree(tmp_path, *(f"x{n}/a.jpg" for n in range(9)), "Acne/a.jpg", "Warts/a.jpg")
    said = refused(folder)
    assert "9 folders that are no class: 'x0' (1 images)" in said
    assert "'x4' (1 images) and 4 more" in said


def test_odd_names_survive_a_table_on_disk(tmp_path: Path) -> None:
    folder = tree(tmp_path / "tree", *(f"{name}/an image, {name}.jpg" for name in ODD))
    frame = read(folder, ODD).require_sound().frame
    write_text(tmp_path / "t.csv", frame.to_csv(index=False))
    again = read_table(tmp_path / "t.csv", needed=["image_name", "label"])
    assert again["image_name"].tolist() == frame["image_name"].tolist()
    assert again["label"].tolist() == frame["label"].tolist()
    assert sorted(again["label"]) == sorted(ODD)


def test_names_are_one_whether_the_disk_composes_its_letters_or_not(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "Nævus à la carte")
    assert decomposed != ODD[2]
    folder = tree(tmp_path, f"{decomposed}/{decomposed}.jpg", "Warts/a.jpg")
    for name in (ODD[2], decomposed):
        frame = read(folder, (name, "Warts")).require_sound().frame
        assert frame["image_name"].tolist() == [f"{ODD[2]}/{ODD[2]}", "Warts/a"]
        assert frame["label"].tolist() == [name, "Warts"]
        assert all((folder / source).is_file() for source in frame["source"])


def test_spaces_at_the_ends_of_names_are_no_part_of_them(tmp_path: Path) -> None:
    folder = tree(tmp_path, " Acne /a .jpg", "Warts/b.jpg")
    frame = read(folder).require_sound().frame
    assert frame["label"].tolist() == ["Acne", "Warts"]
    assert frame["image_name"].tolist()[0] == "Acne /a"
    assert (folder / frame["source"][0]).is_file()


def test_two_files_of_one_stem_keep_their_extensions(tmp_path: Path) -> None:
    folder = tree(tmp_path, "Acne/a.jpg", "Acne/a.png", "Acne/b.jpg", "Warts/a.jpg")
    assert read(folder).names == ["Acne/a.jpg", "Acne/a.png", "Acne/b", "Warts/a"]


def test_names_that_cannot_be_told_apart_are_refused(tmp_path: Path) -> None:
    folder = tree(tmp_path, "Acne/a.jpg", "Acne/a.png", "Acne/a.jpg.png", "Warts/a.jpg")
    assert "cannot be told apart: Acne/a.jpg; rename" in refused(folder)


def test_hidden_files_are_passed_over_and_others_are_told(tmp_path: Path) -> None:
    files = ("Acne/._a.jpg", ".hidden/b.jpg", "__MACOSX/._c.jpg", "Acne/.DS_Store")
    folder = tree(tmp_path, "Acne/a.jpg", "Warts/b.jpg", *files, "Acne/c.gif", "Warts/notes.txt")
    table = read(folder).require_sound()
    # A GIF is an image, and refused as one by whoever decodes it.
    assert table.names == ["Acne/a", "Acne/c", "Warts/b"]
    assert table.warnings[0] == "1 files left out, for they are no images: Warts/notes.txt"
    assert "4 hidden or system files passed over" in table.warnings[1]
    assert len(table.warnings) == 2


def test_links_are_followed_and_loops_are_not(tmp_path: Path) -> None:
    folder = tree(tmp_path / "tree", "Acne/a.jpg")
    tree(tmp_path / "elsewhere", "b.jpg")
    (folder / "Warts").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (folder / "Acne/up").symlink_to(folder, target_is_directory=True)
    (folder / "Acne/self").symlink_to(folder / "Acne", target_is_directory=True)
    (tmp_path / "elsewhere/round").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert read(folder).require_sound().names == ["Acne/a", "Warts/b"]


def test_a_link_to_nothing_is_an_image_that_is_missed(tmp_path: Path) -> None:
    from melanoma.data.array_build import survey_images
    from melanoma.recipe.sections import Image as Rules

    folder = tree(tmp_path, "Warts/b.jpg")
    (folder / "Acne").mkdir()
    (folder / "Acne/a.jpg").symlink_to("nowhere.jpg")
    Image.new("RGB", (40, 40)).save(folder / "Warts/b.jpg")
    survey = survey_images(read(folder).require_sound(), Rules(size=32))
    assert len(survey.problems) == 1
    assert "1 of 2 images unreadable: Acne/a" in survey.problems[0]


def test_a_folder_without_images_or_none_at_all_is_refused(tmp_path: Path) -> None:
    assert "no folder at" in refused(tmp_path / "absent")
    assert "holds no class folder with an image (.jpg" in refused(tmp_path)
    assert "holds no class folder" in refused(tree(tmp_path, "flat.jpg", "Acne/x.txt"))


def test_the_pattern_never_sees_the_folder_or_the_extension(tmp_path: Path) -> None:
    images = find_class_images(tree(tmp_path, "Acne_9/x_1.jpg", "Warts_9/y_2.jpeg")).images
    assert read_groups(images, r"(\d+)$") == (["1", "2"], [])
