"""Writing without loss: temp name in the same folder, fsync, rename; and sha256 of files.

A kill in the middle of a plain save leaves half a file; a rename leaves the old one or the new one.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock, Timeout

from melanoma.errors import DiskError, StorageError

TEMPORARY = ".tmp"
_BLOCK = 1 << 20
# A full disk, a full quota, a file above a limit, a disk that is read-only: what a person can mend.
DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})


def sha256_of(path: Path) -> str:
    """The file's sha256 as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def digest_of(value: Any) -> str:
    """sha256 of a JSON-serialisable value in its canonical form (sorted keys, no spaces)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def write_atomic(path: Path, write: Callable[[BinaryIO], Any], *, needed: int = 0) -> None:
    """Let `write` fill a temporary file beside `path`, then put it in `path`'s place.

    `needed` is the expected size in bytes, for the message when the disk is full; where it is not
    known, the message says how far the writing came.
    Raises StorageError; the previous file is then untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY}")
    try:
        with writing(path, needed=needed, partial=temporary):
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True) if path.parent.is_dir() else None


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data`, atomically."""
    write_atomic(path, lambda file: file.write(data), needed=len(data))


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write `value` as readable JSON, atomically; NaN is refused, for it is not JSON."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def sweep_temporaries(folder: Path, names: str = ".*") -> int:
    """Remove what killed writers left behind; returns how many files went.

    `names` is a pattern of those that nobody else can be writing now.
    """
    orphans = list(folder.glob(f"{names}{TEMPORARY}"))
    for orphan in orphans:
        orphan.unlink(missing_ok=True)
    return len(orphans)


def ensure_writable(folder: Path, *, needed: int = 0) -> None:
    """Make `folder`, and raise StorageError unless `needed` bytes can be written to it."""
    with writing(folder, needed=needed or 1):
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe.{os.getpid()}{TEMPORARY}"
        probe.write_bytes(b"\0")
        # Another process may have swept it.
        probe.unlink(missing_ok=True)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DiskError(f"{folder}: {free:,} bytes free, {needed:,} needed; make room")


@contextlib.contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder beside `folder` to fill, which takes its name at the end: whole, or not at all.

    What a killed process left of one is removed. Raises StorageError where `folder` holds something
    already, or another process is filling one.
    """
    if folder.exists() and any(folder.iterdir()):
        raise StorageError(f"{folder} exists; remove it, or name a new folder for the copy")
    stage = folder.parent / f".{folder.name}.new"
    ensure_writable(stage)
    lock = FileLock(stage / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise StorageError(f"{folder} is being written by another process; wait for it") from error
    try:
        for left in stage.iterdir():
            if left.name != ".lock":
                shutil.rmtree(left) if left.is_dir() else left.unlink()
        yield stage
        with writing(folder):
            (stage / ".lock").unlink()
            stage.replace(folder)
            _sync_folder(folder.parent)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        lock.release()


def copy_file(source: Path, target: Path) -> None:
    """Copy the content, atomically; folders on the way are made."""
    with source.open("rb") as file:
        size = source.stat().st_size
        write_atomic(target, lambda copy: shutil.copyfileobj(file, copy), needed=size)


def reserve(file: BinaryIO, size: int) -> None:
    """Have the file's `size` bytes on disk now. Raises OSError where there is no room for them.

    A sparse file would run out of room later, and a process that maps it would be ended by that.
    """
    try:
        # Not on every system; writes then say it when they come to it.
        os.posix_fallocate(file.fileno(), 0, size)
    except AttributeError:
        return
    except OSError as error:
        if error.errno in DISK_ERRORS:
            raise


@contextlib.contextmanager
def writing(path: Path, *, needed: int = 0, partial: Path | None = None) -> Iterator[None]:
    """What goes wrong with the disk inside is a StorageError with path, free and needed bytes.

    `needed` is the size of what is written; where it is 0, that of `partial` is the least.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        # torch.save answers a full disk with a RuntimeError ("unexpected pos").
        if isinstance(error, RuntimeError) and "pos" not in str(error):
            raise
        raise storage_error(error, path, needed=needed, partial=partial) from error


def storage_error(
    error: OSError | RuntimeError, path: Path, *, needed: int = 0, partial: Path | None = None
) -> StorageError:
    """The StorageError (a DiskError where room or rights of the disk lack) for what was raised."""
    reason = getattr(error, "strerror", None) or str(error)
    room = f"{_free_near(path):,} bytes free"
    full = isinstance(error, RuntimeError) or error.errno in DISK_ERRORS
    least = 0
    if not needed and partial is not None:
        with contextlib.suppress(OSError):
            least = partial.stat().st_size
    if needed:
        room += f", {needed:,} needed"
    elif full:
        room += f", more than {least:,} needed"
    kind = DiskError if full else StorageError
    return kind(f"cannot write {path}: {reason} ({room})")


def _free_near(path: Path) -> int:
    for folder in (path, *path.parents):
        if folder.is_dir():
            return shutil.disk_usage(folder).free
    return 0


def _sync_folder(folder: Path) -> None:
    """The rename itself is durable only once the folder is on disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
