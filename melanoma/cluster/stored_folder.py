"""A fold's folder copied to storage that every node sees: a path, or any address of fsspec."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

from melanoma.cluster.stored_files import failures, is_object_store, make_folder, open_files

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
        self._files, self._root = open_files(address)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is stored yet. Raises StorageError."""
        with failures(self.address, "read"):
            return not self._stored()

    def pull(self) -> None:
        """Copy what is stored here."""
        with failures(self.address, "read"):
            for name in self._stored():
                target = self.local / name
                target.parent.mkdir(parents=True, exist_ok=True)
                self._files.get_file(f"{self._root}/{name}", str(target))
                self._sent[name] = _state(target)

    def push(self) -> None:
        """Store what has changed here, so that what is stored is whole at any moment."""
        here = {
            path.relative_to(self.local).as_posix(): path
            for path in self.local.rglob("*")
            if path.is_file() and path.name not in _NEVER and not path.name.endswith(".tmp")
        }
        with failures(self.address, "written"):
            for name in sorted(here, key=_rank):
                state = _state(here[name])
                if self._sent.get(name) != state:
                    self._put(here[name], f"{self._root}/{name}")
                    self._sent[name] = state
            for name in sorted(set(self._stored()) - here.keys(), key=_rank, reverse=True):
                self._files.rm_file(f"{self._root}/{name}")

    def _put(self, source: Path, target: str) -> None:
        """There whole or not at all."""
        if is_object_store(self._files):
            self._files.put_file(str(source), target)
            return
        make_folder(self._files, str(PurePosixPath(target).parent))
        self._files.put_file(str(source), f"{target}.part")
        self._files.mv(f"{target}.part", target)

    def _stored(self) -> list[str]:
        root = self._root.rstrip("/")
        # A listing that fsspec keeps knows nothing of what other processes have written since.
        self._files.invalidate_cache()
        try:
            paths: list[Any] = self._files.find(root)
        except FileNotFoundError:
            return []
        names = [str(name)[len(root) :].lstrip("/") for name in paths]
        return [name for name in names if not name.endswith(".part")]


def _rank(name: str) -> tuple[int, str]:
    last = PurePosixPath(name).name
    return (_LAST.index(last) + 1 if last in _LAST else 0), name


def _state(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_size
