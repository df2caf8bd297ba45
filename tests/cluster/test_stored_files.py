"""Files at an address: what is opened, where folders are made, and what is said of a failure."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from melanoma.cluster.stored_files import failures, is_object_store, make_folder, open_files
from melanoma.errors import DataError, RecipeError, StorageError


def test_an_address_leads_to_its_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("here")
    for address in (str(tmp_path), f"file://{tmp_path}"):
        files, root = open_files(address)
        assert files.cat_file(f"{root}/a.txt") == b"here"
    first, root = open_files("memory://bucket/scores")
    first.pipe_file(f"{root}/a", b"there")
    second, same = open_files("memory://bucket/scores")
    assert second.cat_file(f"{same}/a") == b"there"


def test_an_address_of_no_storage_is_refused() -> None:
    with pytest.raises(RecipeError, match="nowhere://x: fsspec cannot open it"):
        open_files("nowhere://x")


@pytest.mark.parametrize("scheme", ["s3", "s3a"])
def test_an_address_whose_client_is_not_installed_says_what_installs_it(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(RecipeError, match=r"pip install 'melanoma\[s3\]'"):
        open_files(f"{scheme}://bucket/x")


def test_of_a_client_that_is_no_extra_of_ours_fsspec_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(RecipeError, match=r"gs://bucket/x: .*gcsfs") as raised:
        open_files("gs://bucket/x")
    assert "melanoma[" not in str(raised.value)


STORES: dict[str, tuple[Any, bool]] = {
    "s3": (("s3", "s3a"), True),
    "google": (("gs", "gcs"), True),
    "azure": ("abfs", True),
    "files": (("file", "local"), False),
    "memory": ("memory", False),
    "ssh": ("sftp", False),
}


@pytest.mark.parametrize("name", STORES)
def test_a_folder_is_made_where_there_are_folders_alone(name: str) -> None:
    protocol, whole_objects = STORES[name]
    made: list[str] = []

    def makedirs(path: str, exist_ok: bool) -> None:
        assert exist_ok
        made.append(path)

    files = SimpleNamespace(protocol=protocol, makedirs=makedirs)
    assert is_object_store(files) is whole_objects
    make_folder(files, "bucket/a")
    assert made == ([] if whole_objects else ["bucket/a"])


def test_a_folder_that_is_there_already_stays(tmp_path: Path) -> None:
    files, root = open_files(str(tmp_path))
    for _ in range(2):
        make_folder(files, f"{root}/a/b")
        (tmp_path / "a/b/file").touch()
    assert (tmp_path / "a/b/file").exists()


def failing(error: BaseException) -> None:
    with failures("s3://bucket/x", "read"):
        raise error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("Could not\n  connect\tat all"), "Could not connect at all"),
        (PermissionError(13, "Permission denied"), "[Errno 13] Permission denied"),
        (KeyError(), "KeyError"),
        (ValueError("x" * 1000), "x" * 300),
    ],
)
def test_a_client_s_error_is_one_line_with_the_address(error: Exception, said: str) -> None:
    with pytest.raises(StorageError) as raised:
        failing(error)
    assert str(raised.value) == f"s3://bucket/x cannot be read: {said}"
    assert raised.value.__cause__ is error


@pytest.mark.parametrize("error", [DataError("ours"), KeyboardInterrupt()])
def test_our_own_errors_and_an_interruption_pass_as_they_are(error: BaseException) -> None:
    with pytest.raises(type(error)) as raised:
        failing(error)
    assert raised.value is error
