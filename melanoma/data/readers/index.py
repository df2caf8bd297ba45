"""The index of a folder's image files: which file a table's cell means, or why it means none."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path, PurePosixPath

from melanoma.data.foreign_formats import FOREIGN_SUFFIXES
from melanoma.data.images import SUFFIXES
from melanoma.data.readers.files import find_files, some_names

_SEVERAL = "files have that name"
_NO_SUCH_PATH, _THERE_IS = "no such path, but ", "there is "
_ENDINGS = (*SUFFIXES, *FOREIGN_SUFFIXES)


@dataclass(frozen=True)
class ImageIndex:
    """The images below `folder / inside`, as paths relative to `folder`, sorted.

    A cell means the file of that name, with or without its ending; a cell with a slash the file at
    that path below `inside`. Letters are compared as they look, not as they are coded (NFC). A name
    that fits two files means none of them, unless one alone is of a format that is read here.
    """

    folder: Path
    images: tuple[str, ...]
    inside: str = ""
    passed_over: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def find(self, cell: str) -> str:
        """The file that the cell means, blank where it means none or several."""
        paths = self._find_all(plain_name(cell))
        return paths[0] if len(paths) == 1 else ""

    def find_each(self, cells: Iterable[str]) -> list[str]:
        """The file of each cell, blank where there is none."""
        return [self.find(cell) for cell in cells]

    def reason(self, cell: str) -> str:
        """Why a cell means no file, blank where nothing is near it."""
        if self.inside and not self.images:
            return f"no image below {self.inside}"
        name = plain_name(cell)
        several = self._find_all(name)
        if several:
            shown = ", ".join(several[:3]) + (", ..." if len(several) > 3 else "")
            return f"{len(several)} {_SEVERAL}: {shown}"
        base = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
        if base != name:
            return self._near(base, _NO_SUCH_PATH)
        return self._near(name, "")

    def _find_all(self, name: str) -> list[str]:
        name = name.removeprefix("./")
        keys = self._paths if "/" in name else self._names
        for which in keys:
            if name in which:
                return self._distinct(which[name])
        return []

    def _distinct(self, paths: list[str]) -> list[str]:
        """The paths, one of each file: a link to a file is that file."""
        if len(paths) < 2:
            return paths
        real = {os.path.realpath(self.folder / path): path for path in reversed(paths)}
        return sorted(real.values())

    def _near(self, name: str, start: str) -> str:
        bare = without_ending(name)
        tries = [
            ("", self._names, name),
            ("in another case: ", self._lower_names, name.lower()),
            ("with another ending: ", self._names[1:], bare),
            ("in another case and with another ending: ", self._lower_names[1:], bare.lower()),
        ]
        for how, keys, key in tries:
            paths = next((which[key] for which in keys if key in which), [])
            if paths and (how or start):
                return f"{start}{how or _THERE_IS}{', '.join(paths[:3])}"
        if bare in self._hidden:
            return f"{start}hidden, or a system's own: {self._hidden[bare]}"
        return start.removesuffix(", but ")

    @cached_property
    def _hidden(self) -> dict[str, str]:
        """Name without its ending -> a file that is passed over."""
        return {plain_name(without_ending(_base(path))): path for path in self.passed_over}

    @cached_property
    def _names(self) -> tuple[dict[str, list[str]], ...]:
        """File name -> paths, and the name without its ending -> paths."""
        return self._by(_base), self._by(lambda path: without_ending(_base(path)), prefer=True)

    @cached_property
    def _lower_names(self) -> tuple[dict[str, list[str]], ...]:
        return tuple(_lower(keys) for keys in self._names)

    @cached_property
    def _paths(self) -> tuple[dict[str, list[str]], ...]:
        """The same of paths below `inside`."""
        return self._by(self._below), self._by(lambda p: without_ending(self._below(p)), True)

    def _below(self, path: str) -> str:
        return PurePosixPath(path).relative_to(self.inside).as_posix()

    def _by(self, key: Callable[[str], str], prefer: bool = False) -> dict[str, list[str]]:
        """`prefer`: a photograph beside its copy in a format that is not read is meant alone."""
        readable: dict[str, list[str]] = {}
        foreign: dict[str, list[str]] = {}
        for path in self.images:
            keys = foreign if prefer and not path.lower().endswith(SUFFIXES) else readable
            keys.setdefault(plain_name(key(path)), []).append(path)
        return foreign | readable


def index_images(folder: Path, *, inside: str = "", below: str | None = None) -> ImageIndex:
    """The images of `folder`, or of the folder `inside` it; none where that is not there.

    `below` keeps those with a folder of that pattern above them. Raises DataError for a folder
    that cannot be read.
    """
    if inside and not (folder / inside).is_dir():
        return ImageIndex(folder, (), inside)
    files = find_files(folder / inside)
    ours = [
        path
        for path in files.images
        if below is None or any(fnmatchcase(part, below) for part in path.parts[:-1])
    ]
    notes = files.notes
    if outside := sorted(set(files.images) - set(ours)):
        notes.append(
            f"{len(outside):,} images in no folder {below} passed over: "
            f"{some_names(outside, shown=3)}"
        )
    images = tuple(PurePosixPath(inside, path.as_posix()).as_posix() for path in ours)
    hidden = tuple(path.as_posix() for path in files.passed_over)
    return ImageIndex(folder, images, inside, hidden, tuple(notes))


def plain_name(name: str) -> str:
    """As a table holds it: letters composed (a Mac's disk has them apart), bytes read as UTF-8
    whatever the locale, no space at either end."""
    text = os.fsencode(name).decode("utf-8", "surrogateescape") if not name.isascii() else name
    return unicodedata.normalize("NFC", text).strip()


def without_ending(name: str) -> str:
    """The name without an image's ending."""
    ending = PurePosixPath(name).suffix
    return name[: -len(ending)] if ending.lower() in _ENDINGS else name


def unmatched_reasons(index: ImageIndex, cells: Sequence[str]) -> dict[str, str]:
    """Of each cell that means no file, why."""
    return {cell: index.reason(cell) for cell in dict.fromkeys(cells) if not index.find(cell)}


def advice(reasons: Mapping[str, str]) -> list[str]:
    """How to go on, by what `unmatched_reasons` gave, where names fit several files, or where every
    path begins below one folder; nothing elsewhere."""
    ways = []
    if any(_SEVERAL in reason for reason in reasons.values()):
        ways.append(
            "names that fit several files: write their paths into the table, or name one folder "
            "(reader csv_folder: --set data.images=FOLDER; predict: --data FOLDER)"
        )
    folders = {_folder_above(cell, reason) for cell, reason in reasons.items()}
    if len(folders) == 1 and (folder := folders.pop()):
        ways.append(
            f"each of these paths begins below {folder} (reader csv_folder: --set "
            f"data.images={folder}; predict: --data FOLDER/{folder})"
        )
    return ways


def _folder_above(cell: str, reason: str) -> str:
    """Where the cell's whole path was found; blank where it was not, or in several folders."""
    path, end = reason.removeprefix(_NO_SUCH_PATH + _THERE_IS), "/" + plain_name(cell)
    return path.removesuffix(end) if path != reason and path.endswith(end) else ""


def _base(path: str) -> str:
    return path.rpartition("/")[2]


def _lower(keys: dict[str, list[str]]) -> dict[str, list[str]]:
    lowered: dict[str, list[str]] = {}
    for key, paths in keys.items():
        lowered.setdefault(key.lower(), []).extend(paths)
    return lowered
