"""Writing without loss: temp name in the same folder, fsync, rename; and sha256 of files.

A kill in the middle of a plain save leaves half a file; a rename leaves the old one or the new one.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import json
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from melanoma.errors import DiskError, StorageError

TEMPORARY = ".tmp"
_BLOCK = 1 << 20
_ABANDONED_SECONDS = 600.0  # no writer pauses for as long
_BINARY = getattr(os, "O_BINARY", 0)  # of Windows alone
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe (FIFO)"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
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
    temporary = _temporary(path)
    try:
        with writing(path, needed=needed, partial=temporary):
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                _keep_mode(path, file)
                write(file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            sync_folder(path.parent)
    finally:
        _remove(temporary)
    _remove_abandoned(path)


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
        try:
            probe.write_bytes(b"\0")
        finally:
            _remove(probe)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DiskError(f"{folder}: {free:,} bytes free, {needed:,} needed; make room")


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


def open_file(path: Path) -> BinaryIO:
    """The file at `path`, open for reading.

    Raises OSError for what is no file: a plain open waits for a FIFO's writer for ever, and a
    device has no end.
    """
    _require_file(path, path.stat().st_mode)
    # Not to wait either when a FIFO takes the file's place between the two.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _BINARY)
    file = os.fdopen(descriptor, "rb")
    try:
        _require_file(path, os.fstat(descriptor).st_mode)
    except OSError:
        file.close()
        raise
    return file


def read_file(path: Path) -> bytes:
    """The bytes of a file. Raises OSError, also for what is no file."""
    with open_file(path) as file:
        return file.read()


def read_text(path: Path) -> str:
    """The UTF-8 text of a file. Raises OSError, also for what is no file, and ValueError."""
    return read_file(path).decode()


def require_writable(path: Path) -> None:
    """Raise StorageError unless write_atomic can put a file at `path`; makes no folder for it: what
    is refused after this leaves none behind.

    A link is refused: what it points to would stay as it is, and be read as new.
    """
    if path.is_symlink():
        raise StorageError(f"{path} is a link to {path.readlink()}; name the file itself")
    if not path.name:  # "." or "/"
        raise StorageError(f"{path} is a folder, not a file")
    with writing(path):
        place = next(folder for folder in path.parents if os.path.lexists(folder))
        probe = _temporary(place / path.name)
        try:
            probe.write_bytes(b"\0")
            _require_names(place, path)
            if path.exists():
                _require_file(path, path.stat().st_mode)
                path.open("r+b").close()
                probe.unlink()
                _require_own_place(path, probe)
        finally:
            probe.unlink(missing_ok=True)


def _require_names(place: Path, path: Path) -> None:
    """Raise OSError where a folder between `place`, which is there, and `path` can have no such
    name."""
    for folder in path.parents[: path.parents.index(place)]:
        with contextlib.suppress(FileNotFoundError):
            (place / folder.name).lstat()


def _require_own_place(path: Path, probe: Path) -> None:
    """Raise OSError where a file is mounted at `path`, as into a container: none can replace it."""
    try:
        os.link(path, probe)
    except OSError as error:
        # Other errors say that this disk has no hard links, and nothing of the place.
        if error.errno in (errno.EXDEV, errno.EBUSY):
            reason = "a file is mounted there, which cannot be replaced; name another"
            raise OSError(error.errno, reason, str(path)) from error


def _require_file(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = next((name for test, name in _KINDS if test(mode)), "no file")
        raise OSError(errno.EINVAL, f"is {kind}, not a file", str(path))


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY}")


def _remove(temporary: Path) -> None:
    """Remove it where it is; a disk that is read-only must not hide what was raised before."""
    with contextlib.suppress(OSError):
        temporary.unlink()


def _remove_abandoned(path: Path) -> None:
    """Remove what killed writers of `path` left beside it; a writer at work is left alone."""
    with contextlib.suppress(OSError):
        for left in path.parent.glob(f".{glob.escape(path.name)}.[0-9]*{TEMPORARY}"):
            if time.time() - left.stat().st_mtime > _ABANDONED_SECONDS:
                left.unlink()


def _keep_mode(path: Path, file: BinaryIO) -> None:
    """A table that only its owner may read stays one; a new file's mode is the umask's."""
    try:
        before = os.lstat(path)
    except FileNotFoundError:
        return
    if stat.S_ISREG(before.st_mode):
        # Where root writes it anew, it stays the owner's.
        with contextlib.suppress(AttributeError, OSError):
            os.chown(file.name, before.st_uid, before.st_gid)
        Path(file.name).chmod(stat.S_IMODE(before.st_mode))


def _free_near(path: Path) -> int:
    for folder in (path, *path.parents):
        if folder.is_dir():
            return shutil.disk_usage(folder).free
    return 0


def sync_folder(folder: Path) -> None:
    """The rename itself is durable only once the folder is on disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
