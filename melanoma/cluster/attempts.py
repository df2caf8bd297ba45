"""A shard that ends its process is done file by file, and the file that does it gets an error row.

A decoder that crashes or memory that runs out takes the process with it, and Ray begins the shard
again elsewhere, as it does for a lost node. What was begun is noted beside the shards:
tries-00000.json, there until the shard's Parquet file is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from melanoma.cluster.shards import NamedFile, ShardFolder
from melanoma.errors import ImageError
from melanoma.scoring.files.score_files import ReadableFile
from melanoma.scoring.files.score_rows import Row

# Processes lost with a shard before its files are done one by one: a lost node is no file's fault.
CAREFUL_AFTER = 2
MOST_LOST = 2  # processes lost at one file, alone, before it is left out


@dataclass(frozen=True)
class _Fatal:
    """A file that has ended its process as often as it may."""

    name: str

    def read(self) -> bytes:
        text = f"the process that scored it died {MOST_LOST} times"
        raise ImageError("process_died", text)


def score_shard(
    folder: ShardFolder,
    shard: int,
    files: Sequence[NamedFile],
    score: Callable[[Sequence[ReadableFile]], list[Row]],
) -> list[Row]:
    """The rows that `score` gives, in order. After attempts that did not come back, each file is
    scored by itself, and one at which that happened again has an error: process_died.

    Raises StorageError, and what `score` raises.
    """
    begun, lost = _read(folder, shard)
    allowed: list[ReadableFile] = [
        _Fatal(file.name) if lost.get(number, 0) >= MOST_LOST else file
        for number, file in enumerate(files)
    ]
    _write(folder, shard, begun + 1, lost)
    if begun < CAREFUL_AFTER:
        return score(allowed)
    rows: list[Row] = []
    for number, file in enumerate(allowed):
        if not isinstance(file, _Fatal):
            _write(folder, shard, begun + 1, lost, number)
        rows += score([file])
    return rows


def forget_attempts(folder: ShardFolder, shard: int) -> None:
    """The shard is written."""
    folder.remove(_name(shard))


def _read(folder: ShardFolder, shard: int) -> tuple[int, dict[int, int]]:
    """Attempts that were begun, and how many were lost at a file that was scored alone."""
    data = folder.read(_name(shard))
    if data is None:
        return 0, {}
    note = json.loads(data)
    lost = {int(number): count for number, count in note["lost"].items()}
    if note["file"] is not None:
        lost[note["file"]] = lost.get(note["file"], 0) + 1
    return note["begun"], lost


def _write(
    folder: ShardFolder, shard: int, begun: int, lost: dict[int, int], file: int | None = None
) -> None:
    note = {"begun": begun, "file": file, "lost": lost}
    folder.put(_name(shard), json.dumps(note).encode())


def _name(shard: int) -> str:
    return f"tries-{shard:05d}.json"
