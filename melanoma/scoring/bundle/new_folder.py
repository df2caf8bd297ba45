"""A folder that is filled beside its place: there whole, or not at all."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from melanoma.errors import StorageError
from melanoma.storage import ensure_writable, sync_folder, writing


@contextlib.contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder beside `folder` to fill, which takes its name at the end: whole, or not at all.

    What a killed process left of one is removed. Raises StorageError where `folder` holds something
    already or cannot be replaced, or another process is filling one.
    """
    if folder.exists() and any(folder.iterdir()):
        raise StorageError(f"{folder} exists; remove it, or name a new folder for the copy")
    if folder.is_symlink() or folder.is_mount() or folder.resolve() == Path.cwd():
        raise StorageError(
            f"{folder} is a link, a mounted folder or the one that you are in, which no other can "
            f"replace; name a new folder, such as {folder / 'copy'}"
        )
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
            sync_folder(folder.parent)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        lock.release()
