"""Making an ImageArray: decode a table's images over all cores, or adopt Kaggle's array."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from melanoma.data.array_lock import hold_arrays
from melanoma.data.arrays import (
    ImageArray,
    array_file,
    check_array,
    require_red_skin,
    row_digest,
)
from melanoma.data.groups import exact_duplicates
from melanoma.data.images import FileSquare, read_file_square
from melanoma.data.odd_images import OddImages
from melanoma.data.partial_array import PartialArray
from melanoma.data.readers.index import advice
from melanoma.data.readers.table import LesionTable
from melanoma.errors import DataError, ImageError
from melanoma.recipe.sections import Image
from melanoma.storage import write_json
from melanoma.types import Progress

_CHUNK = 64
_MISSING = " (missing)"  # the end of what is wrong with a row that has no file


def silent(items: Iterable[Any], **_: Any) -> Iterable[Any]:
    """A Progress that shows nothing."""
    return items


class Survey(NamedTuple):
    """What is wrong with a table and its images, pairs of rows that are one image, and what was
    settled without a person as images were read."""

    problems: list[str]
    duplicates: list[tuple[int, int]]
    warnings: list[str]


def find_adoptable(arrays: Path, data: Path, image: Image, *, part: str = "train") -> Path | None:
    """Kaggle's x_train_S.npy in either folder, or x_train.npy in `data`; None without either.

    Raises DataError when there is one of another size and no image folder to build from.
    """
    for folder in (arrays, data):
        path = array_file(folder, size=image.size, part=part)
        if path.is_file():
            return path
    if (data / f"x_{part}.npy").is_file():
        return data / f"x_{part}.npy"
    others = sorted(data.glob(f"x_{part}_*.npy"))
    if others and not (data / "jpeg" / part).is_dir():
        size = others[0].stem.rsplit("_", 1)[1]
        raise DataError(
            f"{data} has {others[0].name}, the recipe says {image.size} px "
            f"(--set image.size={size})"
        )
    return None


def adopt_array(
    path: Path,
    table: LesionTable,
    folder: Path,
    image: Image,
    *,
    channels: str,
    part: str = "train",
    progress: Progress = silent,
) -> ImageArray:
    """Kaggle's array as it is: checked, its rows named in csv order, recorded in `folder`.

    Raises DataError when rows, type or size differ, or red and blue look swapped.
    """
    names = tuple(table.names)
    check_array(path, size=image.size, rows=len(names))
    array = ImageArray(path.resolve(), image.size, names, (), channels=channels)
    require_red_skin(array, option="--set data.array_channels")
    digests: list[str] = []
    for start in progress(range(0, len(names), _CHUNK), desc="check array", unit="chunk"):
        chunk = array.rows(range(start, min(start + _CHUNK, len(names))))
        digests += [row_digest(pixels) for pixels in chunk]
    adopted = ImageArray(array.path, image.size, names, tuple(digests), channels=channels)
    with hold_arrays(folder):
        record_path = array_file(folder, size=image.size, part=part).with_suffix(".json")
        write_json(record_path, _record(adopted, folder, fit=None))
    return adopted


def build_array(
    table: LesionTable,
    folder: Path,
    image: Image,
    *,
    part: str = "train",
    skip_bad: float = 0.0,
    progress: Progress = silent,
    say: Callable[[str], None] = lambda _: None,
) -> ImageArray:
    """Decode every image of the table into the array, over all cores; resumes where it stopped.

    All problems of the table and all unreadable files are found before it raises DataError with
    their counts and names. Up to the share `skip_bad` of the images may be left out instead; their
    names are kept in `skipped`. `say` is told what the decoder warns of, such as colors that it
    could not convert.
    """
    names = table.names
    broken, odd = [], OddImages()
    with hold_arrays(folder), PartialArray(folder, names, image, part=part) as work:
        sources = table.frame["source"].tolist()
        work.forget_changed([table.folder / source for source in sources])
        todo = [row for row, digest in enumerate(work.digests) if not digest]
        for row, square_or_fault in progress(
            _read_squares(table, todo, image), total=len(todo), desc=f"prepare {part}", unit="image"
        ):
            if isinstance(square_or_fault, str):
                broken.append(square_or_fault)
            else:
                work.put(row, square_or_fault)
        work.save()
        for name, warnings in zip(names, work.warnings, strict=True):
            odd.add(name, warnings)
        for line in odd.lines():
            say(f"warning: {line}")
        files = _file_problems(table, broken)
        too_many = len(broken) > skip_bad * len(names)
        if table.problems or too_many:
            hint = "" if skip_bad or not files else " (--skip-bad leaves out up to 1 %)"
            raise DataError(f"{table.folder}: {'; '.join([*table.problems, *files])}{hint}")
        array = work.finish()
        work.commit(_record(array, folder, fit=image.fit))
    return array


def survey_images(table: LesionTable, image: Image, *, progress: Progress = silent) -> Survey:
    """Every problem of the table and its images; decodes all, keeps none."""
    digests, broken, odd = [""] * len(table), [], OddImages()
    rows = list(range(len(table)))
    for row, square_or_fault in progress(
        _read_squares(table, rows, image), total=len(rows), desc="check", unit="image"
    ):
        if isinstance(square_or_fault, str):
            broken.append(square_or_fault)
        else:
            digests[row] = row_digest(square_or_fault.square)
            odd.add(table.names[row], square_or_fault.warnings)
    problems = [*table.problems, *_file_problems(table, broken)]
    return Survey(problems, exact_duplicates(digests), odd.lines())


def _read_squares(
    table: LesionTable, rows: list[int], image: Image
) -> Iterator[tuple[int, FileSquare | str]]:
    """(row, its square, facts and state, or what is wrong with it), in the order of `rows`.

    Threads, not processes: decoding and resampling leave Python's lock.
    """
    names, sources = table.names, table.frame["source"].tolist()

    def read(row: int) -> tuple[int, FileSquare | str]:
        if not sources[row]:
            reason = table.unmatched.get(names[row], "")
            return row, f"{names[row]}{f' ({reason})' if reason else ''}{_MISSING}"
        try:
            path = table.folder / sources[row]
            return row, read_file_square(path, size=image.size, fit=image.fit)
        except ImageError as error:
            return row, f"{names[row]} ({error})"

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for start in range(0, len(rows), _CHUNK):
            yield from pool.map(read, rows[start : start + _CHUNK])


def _record(array: ImageArray, folder: Path, *, fit: str | None) -> dict[str, Any]:
    inside = array.path.parent.resolve() == folder.resolve()
    return {
        "array": array.path.name if inside else str(array.path),
        "size": array.size,
        "fit": fit,
        "channels": array.channels,
        "digest": array.digest,
        "skipped": array.skipped,
        "names": array.names,
        "row_digests": array.row_digests,
        "file_facts": array.file_facts,
        "decoder": array.decoder,
        "files": array.files,
    }


def _file_problems(table: LesionTable, broken: list[str]) -> list[str]:
    missing = [b.removesuffix(_MISSING) for b in broken if b.endswith(_MISSING)]
    unreadable = [b for b in broken if not b.endswith(_MISSING)]
    problems = []
    for what, which in (("missing", missing), ("unreadable", unreadable)):
        if which:
            more = f" and {len(which) - 5} more" if len(which) > 5 else ""
            problems.append(
                f"{len(which)} of {len(table)} images {what}: {', '.join(which[:5])}{more}"
            )
    return [*problems, *advice(table.unmatched)]
