"""A tree of class folders: which images it holds, in which class folder, in which part."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from melanoma.data.images import SUFFIXES
from melanoma.data.readers.files import find_files, some_names
from melanoma.data.readers.index import plain_name
from melanoma.errors import AbsentError, DataError

PARTS = ("train", "test")
# What a folder at the top is, where train/ is beside another of them.
_PART_OF = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("valid", "val", "validation", "dev"), "valid"),
    **dict.fromkeys(("test", "testing"), "test"),
}

_ORDER = {"train": 0, "valid": 1, "test": 2}


class FolderImage(NamedTuple):
    """An image: its name in every table, its class folder, its part ("" of a tree without parts),
    and its path relative to the tree."""

    name: str
    folder: str
    part: str
    path: Path


@dataclass(frozen=True)
class ClassTree:
    """`images` in the order of their paths, those in train/ first.

    `problems` are images without a class; `warnings` are files that are no images, or not read.
    """

    images: list[FolderImage]
    problems: list[str]
    warnings: list[str]


def find_class_images(folder: Path) -> ClassTree:
    """Every image of FOLDER/CLASS/, or of FOLDER/PART/CLASS/, where the parts are train and test,
    train and valid (or val, validation, dev), or all three (any case; training and testing, too).

    An image's name is its path in the tree without the extension, or with it where a second file
    has the same path without. Names are NFC, whatever the disk has; what is passed over is said.
    Raises DataError for a tree without images, or one whose images cannot be told apart by name.
    """
    parts = _find_parts(folder)
    files = find_files(folder)
    class_images: list[tuple[str, Path]] = []
    stray = []
    for inside in files.images:
        part = parts.get(inside.parts[0], "")
        depth = 2 if part else 1
        if len(inside.parts) <= depth or (parts and not part):
            stray.append(str(inside))
        else:
            class_images.append((part, inside))
    if not class_images:
        raise AbsentError(f"{folder} holds no class folder with an image ({', '.join(SUFFIXES)})")
    class_images.sort(key=lambda item: (_ORDER.get(item[0], 0), item[1].as_posix()))
    names = unique_names([path for _, path in class_images])
    images = [
        FolderImage(name, plain_name(path.parts[1 if part else 0]), part, path)
        for name, (part, path) in zip(names, class_images, strict=True)
    ]
    there = " and ".join(f"{name}/" for name in sorted(parts, key=lambda name: _ORDER[parts[name]]))
    beside = f" ({there} are there, so nothing else may be)" if parts else ""
    problems = (
        [f"{len(stray)} images in no class folder: {some_names(stray)}{beside}"] if stray else []
    )
    other = files.others
    left_out = [f"{len(other)} files left out, for they are no images: {some_names(other)}"]
    return ClassTree(images, problems, [*(left_out if other else []), *files.notes])


def read_groups(images: Sequence[FolderImage], pattern: str) -> tuple[list[str], list[str]]:
    """The group in each image's file name (without extension), and what is wrong.

    The pattern is searched; where its one group took no part, the image stands alone.
    """
    matches = [re.search(pattern, plain_name(image.path.stem)) for image in images]
    unmatched = [str(i.path) for i, match in zip(images, matches, strict=True) if match is None]
    shown = some_names(unmatched)
    fault = f"{len(unmatched)} file names that data.group_pattern does not fit: {shown}"
    problems = [fault] if unmatched else []
    return [(match.group(1) or "") if match else "" for match in matches], problems


def unique_names(paths: Sequence[Path]) -> list[str]:
    """A name for each relative path: without the extension where that tells them apart.

    Raises DataError where nothing does.
    """
    short = [plain_name(path.with_suffix("").as_posix()) for path in paths]
    counts: dict[str, int] = {}
    for name in short:
        counts[name] = counts.get(name, 0) + 1
    names = [
        name if counts[name] == 1 else plain_name(path.as_posix())
        for name, path in zip(short, paths, strict=True)
    ]
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise DataError(f"files whose names cannot be told apart: {some_names(twice)}; rename them")
    return names


def _find_parts(folder: Path) -> dict[str, str]:
    """Name at the top -> part, where train and another one are there."""
    if not folder.is_dir():
        raise AbsentError(f"no folder at {folder}")
    names = [p.name for p in sorted(folder.iterdir()) if p.is_dir()]
    parts = {name: _PART_OF[name.lower()] for name in names if name.lower() in _PART_OF}
    if "train" not in parts.values() or len(set(parts.values())) < 2:
        return {}
    if len(parts) > len(set(parts.values())):
        alike = {name for name, part in parts.items() if list(parts.values()).count(part) > 1}
        if len({name.lower() for name in alike}) < len(alike):
            how = "differ by nothing but case; keep two"
        else:
            how = "are one part; keep one"
        raise DataError(f"{folder}: {', '.join(sorted(alike))} {how}")
    return parts
