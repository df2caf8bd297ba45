"""The images that a command's arguments mean: files, folders, and tables that name them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from melanoma.data.csv_tables import read_table
from melanoma.data.images import SUFFIXES, read_photograph
from melanoma.data.readers.files import TABLES, FoundFiles, find_files, some_names
from melanoma.data.readers.folder_tree import unique_names
from melanoma.data.readers.index import advice, index_images, plain_name, without_ending
from melanoma.errors import DataError
from melanoma.scoring.files.array_rows import (
    SUFFIX,
    SquareRow,
    arrays_in,
    open_squares,
    own_table,
)
from melanoma.scoring.files.score_rows import require_plain_names

TEST_TABLE = "test.csv"  # of an array of test images, in its order
_SHOWN = 5


class ImageFile(NamedTuple):
    """An image's name and where it lies.

    The name is the file's without its ending, the CSV's cell, or, in a folder where two files have
    one such name, the path below that folder. Of an array's row, `path` is the array.
    """

    name: str
    path: Path
    square: SquareRow | None = None

    def read(self) -> bytes:
        """The file's bytes; of an array's row, its pixels as PNG. Raises OSError, ImageError."""
        return read_photograph(self.path) if self.square is None else self.square.png()


def find_images(
    paths: Sequence[Path],
    *,
    data: Path | None = None,
    image_col: str | None = None,
    names: Path | None = None,
    channels: str | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> list[ImageFile]:
    """The images that files, folders (searched whole, in name order), CSVs and arrays mean.

    A folder without photographs, and a CSV whose photographs are not there, mean the array of test
    squares (x_test_S.npy, or prepare's record of it) that lies there. `names` is the table of an
    array's names and `channels` their order, see open_squares. Files of other formats are among the
    images, to be refused one by one; `say` is told of what is passed over. Raises DataError for
    what does not exist, holds no image, or means two images by one name.
    """
    column = image_col or "image_name"
    arrays = partial(_array_rows, column=column, channels=channels, say=say)
    images: list[ImageFile] = []
    for path in paths:
        if path.is_dir():
            images += _in_folder(path, say, names=names, arrays=arrays)
        elif path.suffix.lower() == ".csv":
            images += _listed(path, data or path.parent, column, say, arrays=arrays)
        elif path.suffix.lower() == SUFFIX:
            beside = data / TEST_TABLE if data and (data / TEST_TABLE).is_file() else None
            images += arrays(path, names=names or beside)
        elif path.suffix.lower() in TABLES and path.is_file():
            raise DataError(f"{path} is no image; a table is read as CSV: save it so")
        elif path.is_file():
            images.append(ImageFile(plain_name(path.stem), path))
        else:
            raise DataError(f"no image, folder, CSV or .npy array at {path}")
    seen: dict[str, tuple[Path, int | None]] = {}
    for image in images:
        place = image.path, image.square.row if image.square else None
        if seen.setdefault(image.name, place) != place:
            raise DataError(
                f"two images are named {image.name}: {_place(seen[image.name])} and {_place(place)}"
            )
    require_plain_names([image.name for image in images])
    once = list(dict.fromkeys(images))
    if len(once) < len(images):
        count = Counter(images)
        twice = [image.name for image in once if count[image] > 1]
        say(
            f"note: {len(twice):,} images are named more than once and scored once: "
            f"{some_names(twice, shown=_SHOWN)}"
        )
    return once


def tell_sizes(files: Sequence[ImageFile], size: int | None, say: Callable[[str], None]) -> None:
    """Say where an array's squares are of another size than the bundle reads: they are resized,
    and the bundle was not evaluated on such. `size` is None of a service that does not say it."""
    for array in {file.path: file.square.array for file in files if file.square}.values():
        if size is not None and array.size != size:
            say(
                f"warning: {array.path}: squares of {array.size} px are resized to the {size} px "
                "that the bundle reads; it was not evaluated on squares that are resized again"
            )


def _place(place: tuple[Path, int | None]) -> str:
    path, row = place
    return str(path) if row is None else f"row {row} of {path}"


def _array_rows(
    path: Path,
    *,
    names: Path | None,
    column: str,
    channels: str | None,
    say: Callable[[str], None],
) -> list[ImageFile]:
    array = open_squares(path, names=names, column=column, channels=channels, say=say)
    return [
        ImageFile(name, array.path, SquareRow(array, row)) for row, name in enumerate(array.names)
    ]


def _only_array(folder: Path) -> Path | None:
    """The array of test squares in `folder`; None where there is none. Raises DataError for more
    than one, of which one must be named."""
    arrays = arrays_in(folder)
    if len(arrays) > 1:
        raise DataError(f"{folder} holds several arrays: name one of {', '.join(map(str, arrays))}")
    return arrays[0] if arrays else None


def _in_folder(
    folder: Path,
    say: Callable[[str], None],
    *,
    names: Path | None,
    arrays: Callable[..., list[ImageFile]],
) -> list[ImageFile]:
    files = find_files(folder)
    if not files.images and (array := _only_array(folder)) is not None:
        return arrays(array, names=names)
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


def _listed(
    path: Path,
    folder: Path,
    column: str,
    say: Callable[[str], None],
    *,
    arrays: Callable[..., list[ImageFile]],
) -> list[ImageFile]:
    names = read_table(path, needed=[column])[column].tolist()
    index = index_images(folder)
    for note in index.notes:
        say(f"note: {folder}: {note}")
    sources = index.find_each(names)
    missing = [name for name, source in zip(names, sources, strict=True) if not source]
    if len(missing) == len(names) and (array := _only_array(folder)) is not None:
        return _named_rows(array, path, names, arrays=arrays)
    if missing:
        reasons = {name: index.reason(name) for name in missing}
        shown = [f"{name} ({reasons[name]})" if reasons[name] else name for name in missing]
        hint = "; ".join(["--data names their folder", *advice(reasons)])
        raise DataError(
            f"{len(missing)} images of {path} are not under {folder}: "
            f"{some_names(shown, shown=_SHOWN)} ({hint})"
        )
    return [ImageFile(name, folder / source) for name, source in zip(names, sources, strict=True)]


def _named_rows(
    array: Path, path: Path, names: Sequence[str], *, arrays: Callable[..., list[ImageFile]]
) -> list[ImageFile]:
    """The rows of the array that the table at `path` names. Its order is the array's only where
    nothing else says which row is whose."""
    own = own_table(array)
    if own is None or (own.is_file() and own.samefile(path)):
        return arrays(array, names=path)
    of_name = {row.name: row for row in arrays(array, names=None)}
    absent = [name for name in names if name not in of_name]
    if absent:
        raise DataError(
            f"{len(absent):,} images of {path} are neither photographs nor rows of {array} as "
            f"{own} has them: {some_names(absent, shown=_SHOWN)}"
        )
    return [of_name[name] for name in names]


def _some(paths: Sequence[Path]) -> str:
    return some_names(list(paths), shown=_SHOWN)
