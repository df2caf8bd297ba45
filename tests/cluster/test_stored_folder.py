"""A fold's folder in storage: whole at any moment, and the same when it is fetched."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from melanoma.cluster.held_array import hold_array, is_here, stored_pixels
from melanoma.cluster.shards import NamedFile, ShardFolder, make_plan
from melanoma.cluster.stored_folder import StoredFolder
from melanoma.data.array_build import build_array
from melanoma.data.arrays import ImageArray
from melanoma.data.readers.reader_catalog import read_lesions
from melanoma.errors import ImageError, MelanomaError, StorageError
from melanoma.recipe.data_sections import SiimData
from melanoma.recipe.sections import Image


def fill(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*"):
        path.unlink()
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
        # Two states within a tick of the clock are told apart by their time alone.
        os.utime(folder / name.replace("_", "."), ns=(0, len(text) * 1_000_000))


@pytest.mark.parametrize("kind", ["path", "memory"])
def test_what_is_stored_is_the_folder_as_it_was_pushed_last(kind: str, tmp_path: Path) -> None:
    address = str(tmp_path / "there") if kind == "path" else f"memory://{tmp_path.name}/fold_0"
    stored = StoredFolder(address, tmp_path / "here")
    assert stored.is_empty
    fill(tmp_path / "here", run_json="1", state0_pt="first", state_json="0")
    stored.push()
    fill(tmp_path / "here", run_json="1", state1_pt="second one", state_json="01")
    (tmp_path / "here/.lock").touch()
    stored.push()
    other = StoredFolder(address, tmp_path / "other")
    assert not other.is_empty
    other.pull()
    found = {path.name: path.read_text() for path in (tmp_path / "other").iterdir()}
    assert found == {"run.json": "1", "state1.pt": "second one", "state.json": "01"}


def test_a_state_is_stored_before_what_names_it_and_goes_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = StoredFolder(str(tmp_path / "there"), tmp_path / "here")
    order: list[str] = []
    move, remove = stored._files.mv, stored._files.rm_file

    def mv(source: str, target: str) -> None:
        order.append(f"+{Path(target).name}")
        move(source, target)

    def rm(path: str) -> None:
        order.append(f"-{Path(path).name}")
        remove(path)

    fill(tmp_path / "here", state0_pt="a", run_json="b", state_json="c", metrics_jsonl="d")
    monkeypatch.setattr(stored._files, "mv", mv)
    monkeypatch.setattr(stored._files, "rm_file", rm)
    stored.push()
    fill(tmp_path / "here", state1_pt="ab", run_json="b", state_json="cc", metrics_jsonl="d")
    stored.push()
    first = ["+metrics.jsonl", "+state0.pt", "+run.json", "+state.json"]
    assert order == [*first, "+state1.pt", "+state.json", "-state0.pt"]


@pytest.fixture
def array(phantom_set: Path, tmp_path: Path) -> ImageArray:
    recipe = SiimData(reader="siim")
    return build_array(read_lesions(phantom_set, recipe), tmp_path, Image(size=32))


def test_an_array_in_memory_gives_the_rows_of_the_one_on_disk(array: ImageArray) -> None:
    held = hold_array(array, np.array(stored_pixels(array)))
    rows = [5, 0, 5]
    assert np.array_equal(held.rows(rows), array.rows(rows))
    assert held.digest == array.digest
    assert is_here(array)
    whole = array.path.read_bytes()
    size = 32 * 32 * 3
    for row in range(len(array)):  # a copy of an earlier state may differ in any one
        start = len(whole) - size * (row + 1)
        array.path.write_bytes(whole[:start] + bytes(size) + whole[start + size :])
        assert not is_here(array)
    array.path.write_bytes(whole[:-100])
    assert not is_here(array)
    array.path.unlink()
    assert not is_here(array)
    assert np.array_equal(held.rows(rows)[0], held.rows([5])[0])


class KeptListings(MemoryFileSystem):
    """Lists a folder once, as s3fs does, until it is told that somebody else writes there."""

    protocol = "kept"
    cachable = False
    kept: dict[str, Any]

    def ls(self, path: str, detail: bool = True, **options: Any) -> Any:
        kept = self.__dict__.setdefault("kept", {})
        key = f"{path} {detail}"
        if key not in kept:
            kept[key] = super().ls(path, detail=detail, **options)
        return kept[key]

    def invalidate_cache(self, path: str | None = None) -> None:
        self.__dict__["kept"] = {}


def test_what_another_process_has_written_since_is_seen(tmp_path: Path) -> None:
    fsspec.register_implementation("kept", KeptListings, clobber=True)
    folder = ShardFolder(f"kept://{tmp_path.name}/out")
    folder.write(0, b"x")
    assert folder.finished() == {0}
    ShardFolder(f"kept://{tmp_path.name}/out").write(1, b"x")
    assert folder.finished() == {0, 1}
    fill(tmp_path / "a", one="1")
    here = StoredFolder(f"kept://{tmp_path.name}/fold", tmp_path / "b")
    assert here.is_empty
    StoredFolder(f"kept://{tmp_path.name}/fold", tmp_path / "a").push()
    assert not here.is_empty


class UnansweredError(Exception):
    """What a client raises that has errors of its own, as botocore has."""


class Absent(MemoryFileSystem):
    """Storage that does not answer."""

    protocol = "absent"
    cachable = False

    def _fail(self, *given: Any, **options: Any) -> Any:
        raise UnansweredError("Could not\nconnect")

    info = open = ls = find = cat_file = rm_file = pipe_file = put_file = makedirs = _fail


def test_what_a_client_raises_is_one_line_with_the_address(tmp_path: Path) -> None:
    fsspec.register_implementation("absent", Absent, clobber=True)
    scores, runs = ShardFolder("absent://bucket/scores"), StoredFolder("absent://b/runs", tmp_path)
    (tmp_path / "run.json").touch()
    file = NamedFile("a", "absent://bucket/a.jpg")
    for attempt, what in (
        (
            lambda: scores.begin(make_plan([file], "key", 16), [file]),
            "bucket/scores cannot be read",
        ),
        (lambda: scores.finished(), "bucket/scores cannot be read"),
        (lambda: scores.write(0, b"x"), "bucket/scores cannot be written"),
        (lambda: scores.remove("x"), "bucket/scores cannot be written"),
        (lambda: runs.is_empty, "b/runs cannot be read"),
        (runs.pull, "b/runs cannot be read"),
        (runs.push, "b/runs cannot be written"),
        # Not a row of the file: storage that answers again has its score.
        (file.read, "bucket/a.jpg cannot be read"),
    ):
        with pytest.raises(StorageError) as raised:
            attempt()
        assert str(raised.value) == f"absent://{what}: Could not connect"


def test_a_plan_that_cannot_be_read_is_one_line_too() -> None:
    pytest.importorskip("pyarrow")
    fsspec.register_implementation("absent", Absent, clobber=True)
    with pytest.raises(StorageError, match="bucket/scores cannot be read: Could not connect"):
        ShardFolder("absent://bucket/scores").files_of(0)


def test_a_file_that_storage_does_not_have_is_its_rows_error() -> None:
    with pytest.raises(ImageError, match="No such file") as raised:
        NamedFile("a", "memory://none/x.jpg").read()
    assert raised.value.code == "unreadable_file"


class Buckets(MemoryFileSystem):
    """An object store: making a folder would make a bucket."""

    protocol = "s3"
    cachable = False

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        raise MelanomaError(f"makes the bucket of {path}")

    def put_file(self, lpath: str, rpath: str, **options: Any) -> None:
        self.pipe_file(rpath, Path(lpath).read_bytes())

    def mv(self, *paths: str, **options: Any) -> None:
        raise MelanomaError("copies what is whole")


def test_no_bucket_is_made_and_nothing_moved_in_an_object_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, run_json="1")
    files = Buckets()
    for folder in (
        scores := ShardFolder("memory://b/s"),
        runs := StoredFolder("memory://b/r", tmp_path),
    ):
        monkeypatch.setattr(folder, "_files", files)
    scores.write(0, b"x")
    runs.push()
    assert scores.finished() == {0}
    assert not runs.is_empty
