"""What is sealed and could not be moved to its place waits for the next who can move it."""

from __future__ import annotations

from pathlib import Path

import pytest

from melanoma.errors import StorageError
from melanoma.scoring.bundle.staging import commit, finish_sealing, staging
from melanoma.storage import write_text


def seal(folder: Path, version: str) -> None:
    with staging(folder) as stage:
        write_text(stage / "report.json", version)
        write_text(stage / "figures/roc.svg", version)
        commit(folder, stage, {"version": version})


def test_a_sealing_that_could_not_be_finished_is_not_lost_to_the_next_one(tmp_path: Path) -> None:
    """As on a disk that has no room for one folder more; a file in its place does the same."""
    in_the_way = tmp_path / "figures"
    in_the_way.touch()
    for version in ("first", "second"):
        with pytest.raises(StorageError):
            seal(tmp_path, version)
    in_the_way.unlink()
    finish_sealing(tmp_path)
    assert (tmp_path / "report.json").read_text() == "first"
    assert (tmp_path / "figures/roc.svg").read_text() == "first"
    seal(tmp_path, "third")
    assert (tmp_path / "figures/roc.svg").read_text() == "third"
    assert not list(tmp_path.glob(".*"))
