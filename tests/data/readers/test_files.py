"""Every file below a folder stands in one list: images, others, passed over, repeated links."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from file_trees import tree

from melanoma.data.readers.files import find_files, find_tables, is_system
from melanoma.errors import DataError


def names(paths: list[Path]) -> list[str]:
    return [path.as_posix() for path in paths]


SYSTEM = (
    *("._a.jpg", ".DS_Store", "Thumbs.db", "desktop.ini", "@eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg"),
    *("__MACOSX/deep/a.jpg", ".ipynb_checkpoints/a-checkpoint.jpg", "#recycle/a.jpg"),
    *("$RECYCLE.BIN/a.jpg", "x/.thumbnails/a.jpg", "@Recycle/a.png", "~$notes.docx"),
)


def test_hidden_and_system_files_are_passed_over_and_counted(tmp_path: Path) -> None:
    found = find_files(tree(tmp_path, *SYSTEM, "x/b.jpg", "b.csv"))
    assert names(found.images) == ["x/b.jpg"]
    assert names(found.others) == ["b.csv"]
    assert names(found.passed_over) == sorted(SYSTEM)
    assert found.notes[0].startswith(f"{len(SYSTEM)} hidden or system files passed over: ")


def test_every_file_stands_in_one_list(tmp_path: Path) -> None:
    find = find_files(tree(tmp_path, *SYSTEM, "a.jpg", "b/c.HEIC", "d.txt"))
    found = sorted([*find.images, *find.others, *find.passed_over])
    assert found == sorted(
        Path(root).relative_to(tmp_path) / file
        for root, _, files in os.walk(tmp_path)
        for file in files
    )


def test_a_system_s_names_have_any_case() -> None:
    assert is_system("THUMBS.DB") and is_system("@EaDir") and not is_system("images")


@pytest.mark.parametrize(
    "name", ["a.jfif", "a.JPE", "a.heic", "a.TIF", "a.bmp", "a.gif", "a.dcm", "a.avif", "a.cr2"]
)
def test_an_image_of_any_format_is_an_image(name: str, tmp_path: Path) -> None:
    assert names(find_files(tree(tmp_path, name)).images) == [name]


def test_a_file_without_ending_is_known_by_its_first_bytes(tmp_path: Path) -> None:
    tree(tmp_path, "IM000001", "1.2.840.5", data=b"\0" * 128 + b"DICM")
    tree(tmp_path, "photo", data=b"\xff\xd8\xff\xe0")
    tree(tmp_path, "LICENSE", "a.zip", "archive", data=b"PK\x03\x04")
    found = find_files(tmp_path)
    assert names(found.images) == ["1.2.840.5", "IM000001", "photo"]
    assert names(found.others) == ["LICENSE", "a.zip", "archive"]


def test_links_are_followed_and_no_folder_is_read_twice(tmp_path: Path) -> None:
    disk = tree(tmp_path / "disk", "a.jpg", "deep/b.jpg")
    folder = tree(tmp_path / "data", "z/c.jpg")
    (folder / "images").symlink_to(disk, target_is_directory=True)
    (folder / "again").symlink_to(folder / "z", target_is_directory=True)
    (folder / "z/up").symlink_to(folder, target_is_directory=True)
    (disk / "round").symlink_to(disk, target_is_directory=True)
    (folder / "self.jpg").symlink_to("self.jpg")
    (folder / "one.jpg").symlink_to(disk / "a.jpg")
    found = find_files(folder)
    assert names(found.images) == [
        *("images/a.jpg", "images/deep/b.jpg", "one.jpg", "self.jpg", "z/c.jpg")
    ]
    assert names(found.repeated) == ["again", "images/round", "z/up"]
    assert "3 links to folders that are read already" in found.notes[0]


def test_a_folder_named_as_an_image_is_searched_and_missed_as_one_where_it_is_empty(
    tmp_path: Path,
) -> None:
    folder = tree(tmp_path, "a.jpg/b.jpg")
    (folder / "c.jpg").mkdir()
    (folder / "d").mkdir()
    assert names(find_files(folder).images) == ["a.jpg/b.jpg", "c.jpg"]


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no folder at"):
        find_files(tmp_path / "absent")


def test_a_table_s_ending_has_any_case_and_a_system_s_copy_is_none(tmp_path: Path) -> None:
    """Case 07: a Mac puts ._T.CSV beside T.CSV, and a spreadsheet ~$T.csv."""
    folder = tree(tmp_path, "T.CSV", "._T.CSV", "~$T.csv", "below/u.csv", "t.tsv")
    assert find_tables(folder) == [folder / "T.CSV"]
    assert find_tables(folder / "nowhere") == []
