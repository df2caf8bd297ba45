"""What files, folders and tables mean to predict: every file is an image, or is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from file_trees import tree

from melanoma.errors import DataError
from melanoma.scoring.files.find import find_images


def names(folder: Path) -> list[str]:
    return [image.name for image in find_images([folder])]


def test_files_of_one_stem_are_named_by_their_path(tmp_path: Path) -> None:
    folder = tree(tmp_path / "one", "Acne/1.jpg", "Warts/1.jpg", "Warts/2.png", "Warts/2.JPG")
    assert names(folder) == ["Acne/1", "Warts/1", "Warts/2.JPG", "Warts/2.png"]
    two = tree(tmp_path / "two", "Acne/1.jpg", "Warts/2.jpg")
    assert names(two) == ["1", "2"]
    with pytest.raises(DataError, match="two images are named 1"):
        find_images([two, tmp_path / "one/Acne"])


def test_every_file_of_a_folder_is_an_image_or_named(tmp_path: Path) -> None:
    folder = tree(
        tmp_path, "a.jpg", "b.HEIC", "c.tif", "d.jfif", "._a.jpg", "@eaDir/a.jpg/M.jpg", "t.csv"
    )
    notes: list[str] = []
    found = find_images([folder], say=notes.append)
    assert [image.name for image in found] == ["a", "b", "c", "d"]
    assert len(notes) == 2
    assert "2 hidden or system files passed over: ._a.jpg, @eaDir/a.jpg/M.jpg" in notes[0]
    assert "1 files are no images: t.csv" in notes[1]


def test_a_copy_in_another_format_leaves_the_photograph_its_name(tmp_path: Path) -> None:
    assert names(tree(tmp_path, "a.HEIC", "a.jpg", "b.HEIC")) == ["a.HEIC", "a", "b"]


def test_a_linked_folder_is_searched_and_a_loop_is_not(tmp_path: Path) -> None:
    disk = tree(tmp_path / "disk", "a.jpg")
    folder = tree(tmp_path / "data")
    folder.mkdir()
    (folder / "images").symlink_to(disk, target_is_directory=True)
    (disk / "up").symlink_to(folder, target_is_directory=True)
    (folder / "t.csv").write_text("image_name\na\n")
    for given in (folder, folder / "t.csv"):
        assert [image.path.name for image in find_images([given])] == ["a.jpg"]


def test_each_name_of_a_table_without_a_file_has_its_reason(tmp_path: Path) -> None:
    folder = tree(tmp_path, "one/a.jpg", "two/a.jpg", "B.jpg")
    (folder / "t.csv").write_text("image_name\na\nb\nnone\n")
    with pytest.raises(DataError) as caught:
        find_images([folder / "t.csv"])
    said = str(caught.value)
    assert said.startswith("3 images of ")
    assert (
        "a (2 files have that name: one/a.jpg, two/a.jpg), b (in another case: B.jpg), none" in said
    )
    assert "--data names their folder" in said and "--data FOLDER" in said


def test_an_image_that_is_named_twice_is_scored_once_and_said(tmp_path: Path) -> None:
    folder = tree(tmp_path, "a.jpg", "b.jpg")
    (folder / "t.csv").write_text("image_name\na\nb\na\na\n")
    notes: list[str] = []
    found = find_images([folder / "t.csv", folder / "b.jpg"], say=notes.append)
    assert [image.name for image in found] == ["a", "b"]
    assert notes[-1] == "note: 2 images are named more than once and scored once: a, b"


def test_a_table_of_another_kind_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no image; a table is read as CSV"):
        find_images([tree(tmp_path, "t.xlsx") / "t.xlsx"])
