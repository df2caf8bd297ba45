"""Writing without loss: temp name in the same folder, fsync, rename; and sha256 of files.

A kill in the middle of a plain save leaves half a file; a rename leaves the old one or the new one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from melanoma.errors import StorageError

TEMPORARY = ".tmp"
_BLOCK = 1 << 20


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

    `needed` is the expected size in bytes, for the message when the disk is full.
    Raises StorageError; the previous file is then untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY}")
    try:
        with _storage_errors(path, needed=needed):
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
    write_atomic(path, lambda file: file.write(data))


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write `value` as readable JSON, atomically; NaN is refused, for it is not JSON."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def sweep_temporaries(folder: Path) -> int:
    """Remove what killed writers left behind; returns how many files went."""
    orphans = list(folder.glob(f".*{TEMPORARY}"))
    for orphan in orphans:
        orphan.unlink(missing_ok=True)
    return len(orphans)


def ensure_writable(folder: Path, *, needed: int = 0) -> None:
    """Make `folder`, and raise StorageError unless `needed` bytes can be written to it."""
    with _storage_errors(folder, needed=needed):
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe.{os.getpid()}{TEMPORARY}"
        probe.write_bytes(b"\0")
        probe.unlink()
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise StorageError(f"{folder}: {free:,} bytes free, {needed:,} needed; make room")


@contextlib.contextmanager
def _storage_errors(path: Path, *, needed: int) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError) as error:
        # torch.save answers a full disk with a RuntimeError ("unexpected pos").
        if isinstance(error, RuntimeError) and "pos" not in str(error):
            raise
        reason = getattr(error, "strerror", None) or str(error)
        room = f"{_free_near(path):,} bytes free"
        wanted = f", {needed:,} needed" if needed else ""
        raise StorageError(f"cannot write {path}: {reason} ({room}{wanted})") from error


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
