"""melanoma.export: a sealed bundle as a file for other programs, in a folder that must be new."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from melanoma.errors import StorageError
from melanoma.scoring.bundle.bundle import load_bundle


def test_the_command_writes_the_format_and_says_what_came_of_it(
    call_door: Callable[..., Any], bundle_folder: Path, tmp_path: Path
) -> None:
    done = call_door(
        *("export", "new", "--to", "onnx", "--weights", bundle_folder, "--views", "1", "--json")
    )
    assert done.code == 0, done.err
    answer = json.loads(done.out)
    folder = tmp_path / answer["folder"]
    described = json.loads((folder / "model.json").read_text())
    assert described["digest"] == load_bundle(bundle_folder).digest
    assert (answer["to"], described["views"]) == ("onnx", 1)
    assert answer["bytes"] == sum(path.stat().st_size for path in folder.iterdir())
    assert 0 <= answer["largest_difference"] <= 1e-4
    assert (answer["timm"], answer["license"]) == (None, None)


def test_the_command_refuses_a_folder_that_is_there_and_a_format_that_is_not(
    call_door: Callable[..., Any], bundle_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there/file").touch()
    options = ["--weights", bundle_folder]
    again = call_door("export", "there", "--to", "onnx", *options)
    assert again.code == StorageError.exit_code
    assert "there exists" in again.err
    unknown = call_door("export", "new", "--to", "onx", *options)
    assert unknown.code == 2 and "did you mean onnx" in unknown.err
    assert call_door("export", "new", "--to", "onnx", "--views", "9", *options).code == 2
    assert not (tmp_path / "new").exists()
