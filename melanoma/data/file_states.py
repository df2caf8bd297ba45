"""What an image file was when an array was made from it, and whether it still is that file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from melanoma.data.containers import read_member, split_member, stat_source
from melanoma.storage import sha256_of


class FileState(NamedTuple):
    """A file's bytes, the times (ns) of its content and of its entry on the disk, its sha256."""

    bytes: int
    modified: int
    changed: int
    sha256: str


class FileChanges(NamedTuple):
    """Places in the list of files: those of other bytes, those that are no longer there, and those
    of the same bytes whose times have changed, each with its state of now."""

    other: list[int]
    absent: list[int]
    renewed: dict[int, FileState]


def compare_files(files: Sequence[tuple[Path, FileState]]) -> FileChanges:
    """What has become of the files. Only those whose size or times differ are read.

    A state without a sha256 knows the size alone.
    """
    other, absent, to_read = [], [], []
    stats: dict[int, os.stat_result] = {}
    for place, (path, state) in enumerate(files):
        try:
            stat = stats[place] = stat_source(path)
        except OSError:
            absent.append(place)
            continue
        if stat.st_size != state.bytes and not split_member(path):
            other.append(place)
        elif state.sha256 and (stat.st_mtime_ns, stat.st_ctime_ns) != state[1:3]:
            to_read.append(place)
    renewed: dict[int, FileState] = {}
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        found = pool.map(_sha256_or_none, (files[place][0] for place in to_read))
        for place, digest in zip(to_read, found, strict=True):
            if digest is None:
                absent.append(place)
            elif digest != files[place][1].sha256:
                other.append(place)
            else:
                stat = stats[place]
                times = (files[place][1].bytes, stat.st_mtime_ns, stat.st_ctime_ns)
                renewed[place] = FileState(*times, digest)
    return FileChanges(sorted(other), sorted(absent), renewed)


def _sha256_or_none(path: Path) -> str | None:
    member = split_member(path)
    try:
        if member is not None:
            return hashlib.sha256(read_member(*member)).hexdigest()
        return sha256_of(path)
    except OSError:
        return None
