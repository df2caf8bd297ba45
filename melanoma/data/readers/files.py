"""The files below a folder, each of one kind: an image, no image, or passed over."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from melanoma.data.foreign_formats import FOREIGN_SUFFIXES, is_image
from melanoma.data.images import SUFFIXES
from melanoma.errors import AbsentError, DataError

# What systems put beside photographs, in lower case. Names that begin with a dot need no list:
# ._x.jpg, .DS_Store, .ipynb_checkpoints, .thumbnails.
_SYSTEM = frozenset(
    (
        *("@eadir", "@recycle", "@recently-snapshot", "@__thumb", "#recycle", "#snapshot"),
        *("__macosx", "$recycle.bin", "system volume information", "lost+found", "__pycache__"),
        *("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"),
    )
)


# Tables that are none of ours.
TABLES = (".xlsx", ".xls", ".ods", ".tsv", ".tab", ".parquet", ".feather", ".json", ".jsonl")


@dataclass(frozen=True)
class FoundFiles:
    """Paths relative to the folder, sorted. Every file below it stands in one of the lists.

    `images` end as images do, of whatever format, or are images by their first bytes; `others` are
    no images; `passed_over` are hidden files and those of systems; `repeated` are links to folders
    that are read already.
    """

    images: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)
    passed_over: list[Path] = field(default_factory=list)
    repeated: list[Path] = field(default_factory=list)

    @property
    def notes(self) -> list[str]:
        """What was not read though it is there, a sentence each."""
        sentences = []
        if self.passed_over:
            sentences.append(
                f"{len(self.passed_over):,} hidden or system files passed over: "
                f"{some_names(self.passed_over, shown=3)}"
            )
        if self.repeated:
            sentences.append(
                f"{len(self.repeated):,} links to folders that are read already passed over: "
                f"{some_names(self.repeated, shown=3)}"
            )
        return sentences


def find_files(folder: Path) -> FoundFiles:
    """Every file below `folder`. Links are followed, but no folder is read twice.

    Raises DataError where there is no such folder, or one that cannot be read.
    """
    if not folder.is_dir():
        raise AbsentError(f"no folder at {folder}")
    files, links = FoundFiles(), [Path()]
    read: set[Path] = set()
    # Links wait until all folders that are truly here are read: these have the shorter paths.
    while links:
        link = links.pop(0)
        if (folder / link).resolve() in read:
            files.repeated.append(link)
            continue
        _walk(folder, link, files, read, links)
    for paths in (files.images, files.others, files.passed_over, files.repeated):
        paths.sort()
    return files


def find_tables(folder: Path) -> list[Path]:
    """The CSVs in `folder` itself, sorted; hidden ones and those of systems (._t.csv) are none."""
    entries = folder.iterdir() if folder.is_dir() else ()
    return sorted(p for p in entries if p.suffix.lower() == ".csv" and not is_system(p.name))


def is_system(name: str) -> bool:
    """Whether a file or folder of that name is hidden, or an operating system's own."""
    return name.startswith((".", "~$")) or name.lower() in _SYSTEM


def some_names(names: list[Path] | list[str], *, shown: int = 5) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - shown:,} more" if len(names) > shown else ""
    return ", ".join(map(str, names[:shown])) + more


def _walk(folder: Path, top: Path, files: FoundFiles, read: set[Path], links: list[Path]) -> None:
    waiting = [top]
    while waiting:
        inside = waiting.pop()
        real = (folder / inside).resolve()
        if real in read:  # a folder that is bound to two places
            files.repeated.append(inside)
            continue
        read.add(real)
        for entry in _entries(folder / inside):
            path = inside / entry.name
            if is_system(entry.name):
                hidden = _files_in(entry)
                files.passed_over.extend(path / below for below in hidden)
            elif _is_folder(entry):
                (links if entry.is_symlink() else waiting).append(path)
            elif _ends_as_image(entry.name) or _looks_like_image(entry):
                files.images.append(path)
            else:
                files.others.append(path)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"{folder} cannot be read ({error.strerror})") from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether to look into it. An empty folder that is named as an image stands for that image,
    which whoever reads it misses."""
    try:
        return entry.is_dir() and not (
            entry.name.lower().endswith(SUFFIXES) and not any(Path(entry.path).iterdir())
        )
    except OSError:  # a link that leads to itself
        return False


def _files_in(entry: os.DirEntry[str]) -> Iterator[Path]:
    """The files that a hidden entry stands for; it is not looked into where it is a link."""
    if not entry.is_dir(follow_symlinks=False):
        yield Path()
        return
    for root, _, files in os.walk(entry.path):
        below = Path(root).relative_to(entry.path)
        yield from (below / file for file in files)


def _ends_as_image(name: str) -> bool:
    return name.lower().endswith((*SUFFIXES, *FOREIGN_SUFFIXES))


def _looks_like_image(entry: os.DirEntry[str]) -> bool:
    """Whether a file without an ending, as DICOM's often are, begins as an image does."""
    ending = Path(entry.name).suffix[1:]
    if (ending and not ending.isdigit()) or not entry.is_file():
        return False
    try:
        with Path(entry.path).open("rb") as file:
            return is_image(file.read(132))
    except OSError:
        return False
