"""The images that a command's arguments mean: files, folders, and tables that name them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from melanoma.data.csv_tables import read_table
from melanoma.data.images import SUFFIXES
from melanoma.data.readers.files import FoundFiles, find_files, some_names
from melanoma.data.readers.folder_tree import unique_names
from melanoma.data.readers.index import advice, index_images, plain_name, without_ending
from melanoma.errors import DataError
from melanoma.scoring.files.score_rows import require_plain_names

_SHOWN = 5


class ImageFile(NamedTuple):
    """An image's name and where it lies.

    The name is the file's without its ending, the CSV's cell, or, in a folder where two files have
    one such name, the path below that folder.
    """

    name: str
    path: Path


def find_images(
    given: Sequence[Path],
    *,
    data: Path | None = None,
    image_col: str | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> list[ImageFile]:
    """The images that files, folders (searched whole, in name order) and CSVs mean.

    Files of other formats are among them, to be refused one by one; `say` is told of what is passed
    over. Raises DataError for what does not exist, holds no image, or means two images by one name.
    """
    found: list[ImageFile] = []
    for path in given:
        if path.is_dir():
            found += _in_folder(path, say)
        elif path.suffix.lower() == ".csv":
            found += _listed(path, data or path.parent, image_col or "image_name", say)
        elif path.is_file():
            found.append(ImageFile(plain_name(path.stem), path))
        else:
            raise DataError(f"no image, folder or CSV at {path}")
    seen: dict[str, Path] = {}
    for image in found:
        if seen.setdefault(image.name, image.path) != image.path:
            raise DataError(
                f"two images are named {image.name}: {seen[image.name]} and {image.path}"
            )
    require_plain_names([image.name for image in found])
    return list(dict.fromkeys(found))


def _in_folder(folder: Path, say: Callable[[str], None]) -> list[ImageFile]:
    files = find_files(folder)
    for note in files.notes:
        say(f"note: {folder}: {note}")
    if not files.images:
        raise DataError(f"{folder} holds no image ({', '.join(SUFFIXES)})")
    if files.others:
        say(f"note: {folder}: {len(files.others):,} files are no images: {_some(files.others)}")
    return [
        ImageFile(name, folder / path)
        for name, path in zip(_names(files), files.images, strict=True)
    ]


def _names(files: FoundFiles) -> list[str]:
    """A copy in a format that is not read leaves the photograph beside it its name."""
    ours = [path for path in files.images if path.suffix.lower() in SUFFIXES]
    foreign = [path for path in files.images if path.suffix.lower() not in SUFFIXES]
    names = dict(zip(ours, _short_names(ours), strict=True))
    taken = set(names.values())
    for path, name in zip(foreign, _short_names(foreign), strict=True):
        names[path] = plain_name(path.as_posix()) if name in taken else name
    return [names[path] for path in files.images]


def _short_names(paths: Sequence[Path]) -> list[str]:
    bare = [plain_name(without_ending(path.name)) for path in paths]
    return bare if len(set(bare)) == len(bare) else unique_names(paths)


def _listed(path: Path, folder: Path, column: str, say: Callable[[str], None]) -> list[ImageFile]:
    names = read_table(path, needed=[column])[column].tolist()
    index = index_images(folder)
    for note in index.notes:
        say(f"note: {folder}: {note}")
    sources = index.find_each(names)
    missing = [name for name, source in zip(names, sources, strict=True) if not source]
    if missing:
        reasons = {name: index.reason(name) for name in missing}
        shown = [f"{name} ({reasons[name]})" if reasons[name] else name for name in missing]
        hint = "; ".join(["--data names their folder", *advice(reasons.values())])
        raise DataError(
            f"{len(missing)} images of {path} are not under {folder}: "
            f"{some_names(shown, shown=_SHOWN)} ({hint})"
        )
    return [ImageFile(name, folder / source) for name, source in zip(names, sources, strict=True)]


def _some(paths: Sequence[Path]) -> str:
    return some_names(list(paths), shown=_SHOWN)
