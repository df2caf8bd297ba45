"""A fold's folder copied to storage that every node sees: a path, or any address of fsspec."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

from melanoma.errors import RecipeError, StorageError

# What names other files comes after them, and goes before them.
_LAST = ("run.json", "state.json")
_NEVER = (".lock",)


class StoredFolder:
    """The copy at `address` (s3://bucket/runs/fold_0, or a path) of a local folder.

    Raises RecipeError for an address that fsspec cannot open, StorageError when it fails.
    """

    def __init__(self, address: str, local: Path) -> None:
        self.address, self.local = address, local
        self._sent: dict[str, tuple[int, int]] = {}
        try:
            from fsspec.core import url_to_fs

            self._files, self._root = url_to_fs(address)
        except (ImportError, ValueError) as error:
            raise RecipeError(f"{address}: fsspec cannot open it ({error})") from error

    @property
    def is_empty(self) -> bool:
        """Whether nothing is stored yet."""
        return not self._stored()

    def pull(self) -> None:
        """Copy what is stored here."""
        try:
            for name in self._stored():
                target = self.local / name
                target.parent.mkdir(parents=True, exist_ok=True)
                self._files.get_file(f"{self._root}/{name}", str(target))
                self._sent[name] = _state(target)
        except OSError as error:
            raise StorageError(f"{self.address} cannot be read: {error}") from error

    def push(self) -> None:
        """Store what has changed here, so that what is stored is whole at any moment."""
        here = {
            path.relative_to(self.local).as_posix(): path
            for path in self.local.rglob("*")
            if path.is_file() and path.name not in _NEVER and not path.name.endswith(".tmp")
        }
        try:
            for name in sorted(here, key=_rank):
                state = _state(here[name])
                if self._sent.get(name) != state:
                    self._files.makedirs(
                        str(PurePosixPath(f"{self._root}/{name}").parent), exist_ok=True
                    )
                    self._files.put_file(str(here[name]), f"{self._root}/{name}.part")
                    self._files.mv(f"{self._root}/{name}.part", f"{self._root}/{name}")
                    self._sent[name] = state
            for name in sorted(set(self._stored()) - here.keys(), key=_rank, reverse=True):
                self._files.rm_file(f"{self._root}/{name}")
        except OSError as error:
            raise StorageError(f"{self.address} cannot be written: {error}") from error

    def _stored(self) -> list[str]:
        root = self._root.rstrip("/")
        # A listing that fsspec keeps knows nothing of what other processes have written since.
        self._files.invalidate_cache()
        found: list[Any] = self._files.find(root) if self._files.exists(root) else []
        names = [str(name)[len(root) :].lstrip("/") for name in found]
        return [name for name in names if not name.endswith(".part")]


def _rank(name: str) -> tuple[int, str]:
    last = PurePosixPath(name).name
    return (_LAST.index(last) + 1 if last in _LAST else 0), name


def _state(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_size
