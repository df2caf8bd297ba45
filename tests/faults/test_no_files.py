"""A pipe, a socket, a device or a folder in a file's place is refused at once, never waited for."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.shipped import WEIGHTS as SHIPPED
from melanoma.data.csv_tables import read_table
from melanoma.data.images import read_file_square
from melanoma.errors import DataError, ImageError, WeightsError
from melanoma.models.pretrained import read_weights
from melanoma.scoring.bundle.bundle import load_bundle
from melanoma.storage import open_file, read_file

KINDS: dict[str, Callable[[Path], Any]] = {
    "is a pipe (FIFO), not a file": lambda path: os.mkfifo(path),
    "is a device, not a file": lambda path: path.symlink_to("/dev/zero"),
    "is a socket, not a file": lambda path: socket.socket(socket.AF_UNIX).bind(str(path)),
    "is a folder, not a file": lambda path: path.mkdir(),
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)  # a socket's path may have 108 letters
    return str(request.param)


def test_no_reader_waits_for_what_is_no_file(kind: str) -> None:
    for name in ("image.jpg", "table.csv", "weights.safetensors", "weights.pth"):
        KINDS[kind](Path(name))
    with pytest.raises(OSError, match=kind[:8]) as refused:
        read_file(Path("image.jpg"))
    assert refused.value.strerror == kind
    with pytest.raises(ImageError, match=kind[:8]):
        read_file_square(Path("image.jpg"), size=8, fit="squash")[0]
    with pytest.raises(DataError, match=kind[:8]):
        read_table(Path("table.csv"), needed=["image_name"])
    for name in ("weights.safetensors", "weights.pth"):
        with pytest.raises(WeightsError, match="folder" if "folder" in kind else kind[:8]):
            read_weights(Path(name))


def test_a_pipe_that_takes_a_files_place_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "image.jpg"
    path.touch()
    real = os.open

    def swap(*arguments: Any) -> int:
        path.unlink()
        os.mkfifo(path)
        return real(*arguments)

    monkeypatch.setattr(os, "open", swap)
    with pytest.raises(OSError, match="is a pipe"):
        open_file(path)


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SHIPPED, tmp_path / "bundle"))


FILES = ("manifest.json", "recipe.yaml", "report.json", "golden.json", "LICENSE.md")


@pytest.mark.parametrize("file", FILES)
def test_a_bundle_with_a_pipe_in_a_files_place_is_refused(copied: Path, file: str) -> None:
    (copied / file).unlink()
    os.mkfifo(copied / file)
    with pytest.raises(WeightsError, match=file):
        load_bundle(copied)


@pytest.mark.parametrize("file", ["recipe.yaml", "report.json"])
def test_a_pipe_that_the_manifest_does_not_name_is_not_read(copied: Path, file: str) -> None:
    manifest = json.loads((copied / "manifest.json").read_text())
    del manifest["sha256"][file]
    (copied / "manifest.json").write_text(json.dumps(manifest))
    (copied / file).unlink()
    os.mkfifo(copied / file)
    with pytest.raises(WeightsError, match=f"states no sha256 of {file}"):
        load_bundle(copied)


def test_check_and_prepare_name_a_pipe_among_the_photographs(
    phantom_set: Path, tmp_path: Path, tiny_recipe: Callable[..., Path], call_door: Any
) -> None:
    data = tmp_path / "data"
    shutil.copytree(phantom_set, data)
    photograph = sorted((data / "jpeg" / "train").iterdir())[0]
    photograph.unlink()
    os.mkfifo(photograph)
    options = ("--config", tiny_recipe(), "--data", data)
    for door in (("check",), ("prepare", "--arrays", tmp_path / "arrays")):
        answer = call_door(*door, *options)
        assert answer.code == 3, answer.err
        assert photograph.stem in answer.out + answer.err
        assert "is a pipe (FIFO), not a file" in answer.out + answer.err


def test_pretrained_weights_that_are_a_pipe_are_refused(
    phantom_set: Path, tmp_path: Path, tiny_recipe: Callable[..., Path], call_door: Any
) -> None:
    os.mkfifo(tmp_path / "w.pth")
    answer = call_door(
        "train", "--config", tiny_recipe(), "--data", phantom_set, "--fold", "0",
        "--device", "cpu", "--set", "model.pretrained=w.pth",
    )  # fmt: skip
    assert answer.code == 5, answer.err
    assert "w.pth: is a pipe (FIFO), not a file" in answer.err
