"""A photograph whose scoring ends the process: a row with an error, and no end of attempts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from melanoma.cluster.attempts import CAREFUL_AFTER, MOST_LOST, forget_attempts, score_shard
from melanoma.cluster.shards import NamedFile, ShardFolder
from melanoma.errors import ImageError
from melanoma.scoring.files.score_files import ReadableFile
from melanoma.scoring.files.score_rows import Row


class Died(BaseException):
    """The end of the process, as far as a test can have it."""


@pytest.fixture
def shard(tmp_path: Path) -> ShardFolder:
    return ShardFolder(str(tmp_path / "out"))


FILES = [NamedFile(name, name) for name in ("a", "fatal", "b", "worse", "c")]


def score(files: Sequence[ReadableFile]) -> list[Row]:
    rows = []
    for file in files:
        try:
            if isinstance(file, NamedFile) and file.name in ("fatal", "worse"):
                raise Died
            error = "" if isinstance(file, NamedFile) else str(file.read())
        except ImageError as refused:
            error = f"{refused.code}: {refused}"
        rows.append({"image_name": file.name, "error": error})
    return rows


def test_files_that_end_their_process_are_rows_with_an_error_after_a_bounded_number_of_attempts(
    shard: ShardFolder, tmp_path: Path
) -> None:
    lost = 0
    while True:
        try:
            rows = score_shard(shard, 3, FILES, score)
            break
        except Died:
            lost += 1
        assert lost <= CAREFUL_AFTER + 2 * MOST_LOST
    assert lost == CAREFUL_AFTER + 2 * MOST_LOST
    assert [row["image_name"] for row in rows] == [file.name for file in FILES]
    errors = {row["image_name"]: row["error"] for row in rows}
    assert [name for name, error in errors.items() if error] == ["fatal", "worse"]
    assert errors["fatal"] == "process_died: the process that scored it died 2 times"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["tries-00003.json"]
    forget_attempts(shard, 3)
    assert not list((tmp_path / "out").iterdir())


def test_lost_nodes_are_no_file_s_fault(shard: ShardFolder) -> None:
    whole = [file for file in FILES if file.name in ("a", "b", "c")]

    def lost_at_any_time(files: Sequence[ReadableFile]) -> list[Row]:
        raise Died

    for _ in range(CAREFUL_AFTER + 1):  # the last one at a file, once
        with pytest.raises(Died):
            score_shard(shard, 0, whole, lost_at_any_time)
    assert [row["error"] for row in score_shard(shard, 0, whole, score)] == [""] * 3
