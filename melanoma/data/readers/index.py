"""The index of a folder's image files: by path, file name and stem."""

from __future__ import annotations

import os
from fnmatch import fnmatchcase
from pathlib import Path

from melanoma.data.images import SUFFIXES


def index_images(folder: Path, *, below: str | None = None) -> dict[str, str]:
    """Every image under `folder`: its relative path, its file name and its stem -> that path.

    `below` keeps those with a folder of that pattern above them. A file name or stem that occurs in
    two places is left out, since it would be a guess.
    """
    index: dict[str, str] = {}
    ambiguous: set[str] = set()
    for root, _, files in os.walk(folder):
        inside = Path(root).relative_to(folder)
        if below is not None and not any(fnmatchcase(part, below) for part in inside.parts):
            continue
        for file in files:
            if not file.lower().endswith(SUFFIXES):
                continue
            path = inside / file
            index[str(path)] = str(path)
            for key in {path.name, path.stem} - {str(path)}:
                ambiguous |= {key} if key in index else set()
                index[key] = str(path)
    return {key: path for key, path in index.items() if key not in ambiguous}
