"""What an image file was when an array was made from it, and whether it still is that file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeAlias

from melanoma.data.containers import read_member, split_member, stat_source
from melanoma.storage import sha256_of

MUCH = 2**30  # bytes that take longer to read than anybody likes to wait


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


_Seen: TypeAlias = tuple[int, os.stat_result, FileState]


def compare_files(
    files: Sequence[tuple[Path, FileState]], *, say: Callable[[str], None] = lambda _: None
) -> FileChanges:
    """What has become of the files. Only those whose size or times differ are read.

    A state without a sha256 knows the size alone. Where a data set of more than MUCH bytes differs
    in the entries' times alone, it was copied, or is mounted anew, and is not read.
    """
    stats = [_stat_or_none(path) for path, _ in files]
    absent = [place for place, stat in enumerate(stats) if stat is None]
    there = [(place, stat, files[place][1]) for place, stat in enumerate(stats) if stat]
    # A container's member has the container's times, and a size that reading it tells.
    resized = {
        place
        for place, stat, state in there
        if stat.st_size != state.bytes and not split_member(files[place][0])
    }
    other = list(resized)
    renewed: dict[int, FileState] = {}
    to_read = _doubtful([one for one in there if one[0] not in resized])
    if sum(state.bytes for _, _, state in to_read) > MUCH:
        say(f"reading {len(to_read):,} image files again: their times have changed")
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        digests = pool.map(_sha256_or_none, (files[place][0] for place, _, _ in to_read))
        for (place, stat, state), digest in zip(to_read, digests, strict=True):
            if digest is None:
                absent.append(place)
            elif digest != state.sha256:
                other.append(place)
            else:
                times = (state.bytes, stat.st_mtime_ns, stat.st_ctime_ns)
                renewed[place] = FileState(*times, digest)
    return FileChanges(sorted(other), sorted(absent), renewed)


def _doubtful(same_size: Sequence[_Seen]) -> list[_Seen]:
    """The files of the same size that must be read to know whether they are the same."""
    known = [one for one in same_size if one[2].sha256]
    written = [one for one in known if one[1].st_mtime_ns != one[2].modified]
    unwritten = [one for one in known if one[1].st_mtime_ns == one[2].modified]
    entries = [one for one in unwritten if one[1].st_ctime_ns != one[2].changed]
    if sum(state.bytes for _, _, state in entries) > MUCH:
        return written
    return [*written, *entries]


def _stat_or_none(path: Path) -> os.stat_result | None:
    try:
        return stat_source(path)
    except OSError:
        return None


def _sha256_or_none(path: Path) -> str | None:
    member = split_member(path)
    try:
        if member is not None:
            return hashlib.sha256(read_member(*member)).hexdigest()
        return sha256_of(path)
    except OSError:
        return None
