"""OUT.journal: what is scored so far, a line a photograph, so that a killed run goes on.

A row is known by the sha256 of the photograph's bytes and never by its path: the same path in
another folder is another patient's photograph, and a file may be replaced between two runs.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from melanoma.errors import StorageError
from melanoma.scoring.files.score_rows import FIELDS, Row
from melanoma.storage import digest_of, write_text, writing

FORMAT = "melanoma-journal/2"


class Journal:
    """`rows` by the sha256 of the bytes that were scored; kept on disk where there is a path."""

    def __init__(self, path: Path | None = None, key: str = "") -> None:
        self.path, self.key = path, key
        self.rows: dict[str, Row] = {}

    def add(self, digest: str, row: Row) -> None:
        """Keep a row. Raises StorageError when the disk is full."""
        if self.path is not None:
            line = (_line(self.key, digest, row) + "\n").encode()
            with writing(self.path, needed=len(line)), self.path.open("ab") as file:
                file.write(line)
        self.rows[digest] = row

    def remove(self) -> None:
        """Everything in it stands elsewhere now."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


@contextmanager
def open_journal(out: Path | None, key: str, *, say: Callable[[str], None]) -> Iterator[Journal]:
    """The journal of the table `out`, which no other process may write meanwhile.

    `key` is what the rows depend on beside the photographs: a journal of another key is begun
    again, and so is a damaged one; `say` is told. The caller removes it once the table stands; when
    an exception comes first, `say` is told that the journal stays, and how to go on. Without `out`
    nothing is kept. Raises StorageError when another process writes `out`.
    """
    if out is None:
        yield Journal()
        return
    with _alone(out):
        journal = _resume(out, key, say)
        try:
            yield journal
        except BaseException:
            # Its folder may have gone meanwhile.
            if journal.rows and journal.path is not None and journal.path.is_file():
                say(
                    f"note: {len(journal.rows):,} scores are kept in {journal.path}; "
                    "the same command goes on from them"
                )
            else:
                journal.remove()
            raise


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    path = out.with_name(f".{out.name}.lock")
    lock = FileLock(path)
    with writing(path, needed=0):
        out.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise StorageError(
                f"{out} is being written by another process; wait for it, or name another --out"
            ) from error
    try:
        yield
    finally:
        # While it is held, so that nobody's lock is removed but ours. It dies with its process: a
        # killed run leaves the empty file, which locks nobody out.
        with suppress(OSError):
            path.unlink()
        lock.release()


def _resume(out: Path, key: str, say: Callable[[str], None]) -> Journal:
    journal = Journal(out.with_name(out.name + ".journal"), key)
    assert journal.path is not None
    try:
        journal.rows = _read(journal.path, key)
    except ValueError as error:
        say(f"note: {journal.path} {error}; it is begun again")
    # Written anew: a killed writer may have left half a line at its end.
    lines = [_head(key), *(_line(key, digest, row) for digest, row in journal.rows.items())]
    write_text(journal.path, "".join(line + "\n" for line in lines))
    if out.is_file():
        # Whoever may not read the table may not read its scores here.
        journal.path.chmod(stat.S_IMODE(out.stat().st_mode))
    return journal


def _read(path: Path, key: str) -> dict[str, Row]:
    """The whole lines of an earlier journal. Raises ValueError saying why none of it counts,
    StorageError when something else is in its place."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return {}
    if not stat.S_ISREG(mode):
        raise StorageError(f"{path} is in the way: it is no file; remove it")
    head, *lines = path.read_bytes().split(b"\n")
    if head != _head(key).encode():
        known = head.startswith(_head("").encode()[:-2])
        raise ValueError(
            "is of other weights or options" if known else "is damaged, or of another version"
        )
    rows = {}
    # What follows the last line feed is half a line of a killed writer, or nothing.
    for number, line in enumerate(lines[:-1], start=2):
        digest, row = _parse(line, key, number)
        if set(row) != set(FIELDS):
            raise ValueError(f"is damaged in line {number}")
        rows[digest] = row
    return rows


def _head(key: str) -> str:
    return json.dumps({"format": FORMAT, "key": key})


def _line(key: str, digest: str, row: Row) -> str:
    return json.dumps([digest, row, _seal(key, digest, row)])


def _parse(line: bytes, key: str, number: int) -> tuple[str, Row]:
    # What holds its seal was written here, whole: a digit that a disk changed would otherwise be
    # a patient's score.
    try:
        digest, row, seal = json.loads(line)
    except (ValueError, TypeError, RecursionError):
        raise ValueError(f"is damaged in line {number}") from None
    if seal != _seal(key, digest, row):
        raise ValueError(f"is damaged in line {number}")
    return digest, row


def _seal(key: str, digest: str, row: Row) -> str:
    return digest_of([key, digest, row])[:16]
