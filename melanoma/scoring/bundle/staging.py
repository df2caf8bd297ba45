"""A bundle is the old one or the new one, whenever its sealing is cut off.

New files are staged in FOLDER/.sealing, and the bundle that is there stays as it is. When all are
whole the stage is named after the new manifest, and the manifest takes its place: that one rename
seals the new bundle. Then the files move to theirs; where that is cut off, the next who loads the
bundle moves the rest.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from melanoma.storage import digest_of, read_file, write_json, writing

MANIFEST = "manifest.json"
_STAGE, _SEALED = ".sealing", ".sealed-"


@contextlib.contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """An empty folder for a new bundle's files. Its user has `folder` alone.

    Raises StorageError where the files of the bundle that is there cannot be moved to their places:
    what is left of earlier sealings goes, and they must not.
    """
    with writing(folder):
        _move_sealed(folder)
    stage = folder / _STAGE
    for left in (stage, *folder.glob(f"{_SEALED}*")):
        shutil.rmtree(left, ignore_errors=True)
    with writing(stage):
        stage.mkdir(parents=True)
    try:
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def commit(folder: Path, stage: Path, manifest: dict[str, Any]) -> None:
    """Seal the staged files by their manifest, and move them to their places."""
    with writing(folder / MANIFEST):
        stage.rename(folder / f"{_SEALED}{digest_of(manifest)}")
    write_json(folder / MANIFEST, manifest)
    with writing(folder):
        _move_sealed(folder)


def finish_sealing(folder: Path) -> None:
    """Move what a killed process had sealed and not yet moved.

    On a disk that is read-only it stays: the digests then refuse the bundle.
    """
    with contextlib.suppress(OSError):
        _move_sealed(folder)


def _move_sealed(folder: Path) -> None:
    try:
        sealed = folder / f"{_SEALED}{digest_of(json.loads(read_file(folder / MANIFEST)))}"
    except (OSError, ValueError):
        return
    if not sealed.is_dir():
        return
    for path in sorted(path for path in sealed.rglob("*") if path.is_file()):
        target = folder / path.relative_to(sealed)
        target.parent.mkdir(parents=True, exist_ok=True)
        # Two that load it at once: one of them moves it.
        with contextlib.suppress(FileNotFoundError):
            path.replace(target)
    shutil.rmtree(sealed, ignore_errors=True)
