"""melanoma.ship: the command's copy is the one that it tells of, with what was asked for in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from melanoma.errors import RecipeError, StorageError
from melanoma.scoring.bundle.bundle import load_bundle

Door = Callable[..., Any]


def test_what_is_said_of_the_copy_is_what_the_copy_is(
    call_door: Door, bundle_folder: Path, tmp_path: Path
) -> None:
    done = call_door("ship", "--weights", bundle_folder, "--out", "copy", "--json")
    assert done.code == 0, done.err
    answer, copy = json.loads(done.out), load_bundle(tmp_path / "copy")
    assert (answer["folder"], answer["digest"]) == ("copy", copy.digest)
    assert copy.digest != load_bundle(bundle_folder).digest
    assert answer["member_bytes"] == sum(member.file.stat().st_size for member in copy.members)
    assert 0 < answer["largest_logit_change"] < 0.1
    assert f"{len(copy.members)} members" in done.err
    assert f"wrote copy, digest {copy.digest[:12]}" in done.err


def test_notes_prevalence_and_names_go_along_as_they_were_asked_for(
    call_door: Door, bundle_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "LICENSE.md").write_text("Mine.\n")
    (tmp_path / "NOTE.md").write_text("Take care.\n")
    options = ("--note", "LICENSE.md", "--note", "NOTE.md", "--prevalence", "0.01", "--no-names")
    done = call_door("ship", "--weights", bundle_folder, "--out", "copy", *options)
    assert done.code == 0, done.err
    assert done.out == ""
    copy = load_bundle(tmp_path / "copy")
    assert copy.prevalence == 0.01
    assert (copy.license or "").strip() == "Mine."
    assert (tmp_path / "copy/NOTE.md").read_text() == "Take care.\n"
    assert not (tmp_path / "copy/training_images.csv").exists()


@pytest.mark.parametrize(
    ("options", "error", "word"),
    [
        (("--note", "absent.md"), RecipeError, "absent.md"),
        (("--prevalence", "2"), RecipeError, "prevalence"),
        (("--prevalence", "5e-324"), RecipeError, "a share from 0.000001 to 0.999999"),
        (("--out", "there"), StorageError, "there"),
    ],
)
def test_what_cannot_be_shipped_is_one_line_and_leaves_nothing(
    options: tuple[str, ...],
    error: type[Exception],
    word: str,
    call_door: Door,
    bundle_folder: Path,
    tmp_path: Path,
) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there/file").touch()
    given = ("--weights", bundle_folder, *(() if "--out" in options else ("--out", "copy")))
    done = call_door("ship", *given, *options)
    assert done.code != 0
    assert word in done.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["there"]
