"""Folders of small files, for whoever looks at names and not at pixels."""

from __future__ import annotations

from pathlib import Path


def tree(folder: Path, *files: str, data: bytes = b"") -> Path:
    """`folder` with these files, each of them `data`."""
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(data)
    return folder
