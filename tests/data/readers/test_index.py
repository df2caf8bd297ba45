"""The index: a cell means one file, or none for a reason that is said."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from file_trees import tree

from melanoma.data.readers.index import advice, index_images, unmatched_reasons


def test_a_cell_means_a_name_with_and_without_ending_or_a_path(tmp_path: Path) -> None:
    index = index_images(tree(tmp_path, "one/x.jpg", "two/x.jpg", "two/y.jpg", "y.png", "z.jfif"))
    assert index.find_each(["x", "x.jpg", "y"]) == ["", "", ""]
    assert index.find("one/x.jpg") == index.find("one/x") == "one/x.jpg"
    assert index.find("y.jpg") == "two/y.jpg"
    assert index.find("y.png") == "y.png"
    assert index.find("z") == index.find("z.jfif") == "z.jfif"
    assert index.find("three/z") == ""


def test_no_file_is_found_by_a_part_of_its_name(tmp_path: Path) -> None:
    index = index_images(tree(tmp_path, "a.1.jpg", "a.2.jpg", "b.csv"))
    assert index.find_each(["a.1", "a.2", "a", "b"]) == ["a.1.jpg", "a.2.jpg", "", ""]


def test_letters_are_compared_as_they_look(tmp_path: Path) -> None:
    composed = "Nævus à"
    apart = unicodedata.normalize("NFD", composed)
    assert apart != composed
    index = index_images(tree(tmp_path, f"{apart}.jpg"))
    assert index.find(composed) == index.find(apart) == f"{apart}.jpg"


def test_a_copy_in_a_format_that_is_not_read_takes_no_name(tmp_path: Path) -> None:
    index = index_images(tree(tmp_path, "a.HEIC", "a.jpg", "b.HEIC", "c.HEIC", "c.tif"))
    assert index.find_each(["a", "b", "c"]) == ["a.jpg", "b.HEIC", ""]
    assert index.find("a.HEIC") == "a.HEIC"


def test_a_link_to_a_file_is_that_file(tmp_path: Path) -> None:
    folder = tree(tmp_path, "real/a.jpg")
    (folder / "all").mkdir()
    (folder / "all/a.jpg").symlink_to(folder / "real/a.jpg")
    assert index_images(folder).find("a") == "all/a.jpg"


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("x", "2 files have that name: one/x.jpg, two/x.jpg"),
        ("IMG_1", "in another case: one/img_1.jpg"),
        ("img_1.png", "with another ending: one/img_1.jpg"),
        ("Img_1.PNG", "in another case and with another ending: one/img_1.jpg"),
        (r"C:\photos\img_1.jpg", "no such path, but there is one/img_1.jpg"),
        ("/home/me/img_1", "no such path, but there is one/img_1.jpg"),
        ("far/IMG_1.JPG", "no such path, but in another case: one/img_1.jpg"),
        ("far/away.jpg", "no such path"),
        ("h", "hidden, or a system's own: @eaDir/h.jpg"),
        ("nothing", ""),
    ],
)
def test_each_cell_without_a_file_has_its_reason(cell: str, reason: str, tmp_path: Path) -> None:
    files = ("one/x.jpg", "two/x.jpg", "one/img_1.jpg", "@eaDir/h.jpg")
    index = index_images(tree(tmp_path, *files))
    assert unmatched_reasons(index, [cell, "one/x"]) == {cell: reason}
    assert bool(advice({cell: reason})) == reason.startswith("2 files")


def test_paths_that_all_begin_below_one_folder_say_which(tmp_path: Path) -> None:
    index = index_images(tree(tmp_path, "all/images/a/x.jpg", "all/images/b/y.jpg", "z.jpg"))
    (way,) = advice(unmatched_reasons(index, ["a/x.jpg", "b/y.jpg"]))
    assert "begins below all/images" in way
    assert "--set data.images=all/images" in way
    inside = index_images(tmp_path, inside="all/images")
    assert inside.find_each(["a/x.jpg", "b/y.jpg"]) == ["all/images/a/x.jpg", "all/images/b/y.jpg"]
    # One that is elsewhere, or nowhere, and the folder would not do.
    for other in ("c/z.jpg", "b/nothing.jpg"):
        assert not advice(unmatched_reasons(index, ["a/x.jpg", other]))


def test_paths_are_below_the_folder_inside_and_files_below_the_data_folder(tmp_path: Path) -> None:
    index = index_images(tree(tmp_path, "jpeg/train/a/b.jpg", "b.jpg"), inside="jpeg/train")
    assert index.images == ("jpeg/train/a/b.jpg",)
    assert index.find("b") == index.find("a/b.jpg") == "jpeg/train/a/b.jpg"
    absent = index_images(tmp_path, inside="absent")
    assert (absent.images, absent.reason("b")) == ((), "no image below absent")
