"""The array that a record names, wherever it lies now, and whether its files are still the same."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from melanoma.data.array_lock import hold_arrays
from melanoma.data.arrays import ImageArray, array_file, load_array, read_values
from melanoma.data.containers import split_member
from melanoma.data.file_states import FileState, compare_files
from melanoma.data.readers.table import LesionTable
from melanoma.errors import DataError, StorageError
from melanoma.recipe.sections import Image
from melanoma.storage import write_json

Say = Callable[[str], None]
_SHOWN = 5


def find_array(
    arrays: Path,
    image: Image,
    *,
    data: Path,
    part: str = "train",
    say: Say = lambda _: None,
    amend: bool = True,
) -> ImageArray | None:
    """load_array; an adopted array that was moved is adopted anew from `arrays` or `data`, where
    one of the same pixels is found. None where there is none, or our own is gone but its record.
    `amend`: the record may say so from now on.

    Raises DataError for an adopted array that is nowhere, or of other pixels.
    """
    record_path = array_file(arrays, size=image.size, part=part).with_suffix(".json")
    if not record_path.is_file():
        return None
    record = read_values(record_path)
    path = record_path.parent / record["array"]  # an absolute one stays as it is
    if path.is_file():
        beside = array_file(data, size=image.size, part=part)
        if record["fit"] is None and beside.is_file() and not beside.samefile(path):
            load_array(arrays, image, part=part, path=beside)  # refuses other pixels
        return load_array(arrays, image, part=part)
    places = [array_file(folder, size=image.size, part=part) for folder in (arrays, data)]
    there = [place for place in dict.fromkeys(places) if place.is_file()]
    if not there and record["fit"] is not None:
        say(f"note: {path} is gone, and its record {record_path} alone is left")
        return None
    if not there:
        raise DataError(
            f"{path}, which was adopted, is gone, and {places[-1].name} is in neither {arrays} nor "
            f"{data}; name its folder with --data, or begin without it: rm {record_path}"
        )
    array = load_array(arrays, image, part=part, path=there[0])
    if amend:
        amend_record(record_path, array=str(there[0].resolve()))
    say(f"{path} is gone; adopted anew from {there[0]}, whose pixels are the same")
    return array


def require_same_rows(
    array: ImageArray, table: LesionTable, arrays: Path, *, in_order: bool = True
) -> None:
    """Raise DataError unless the array's rows are the table's, in its order, but those skipped."""
    skipped = set(array.skipped)
    names = [name for name in table.names if name not in skipped]
    ours, theirs = set(names), set(array.names)
    if names == list(array.names) or (ours == theirs and not in_order):
        return
    more = [f"{name} in the table alone" for name in names if name not in theirs]
    more += [f"{name} in the array alone" for name in array.names if name not in ours]
    pairs = zip(names, array.names, strict=False)
    more += [] if more else [f"{n} where {a} was" for n, a in pairs if n != a]
    raise DataError(
        f"{array.path} was made from another table: {len(more):,} rows of {table.folder} differ "
        f"({_first(more)}); prepare into another --arrays DIR, or anew after: "
        f"{_remedy(array, arrays)}"
    )


def require_same_files(
    array: ImageArray,
    table: LesionTable,
    arrays: Path,
    *,
    say: Say = lambda _: None,
    amend: bool = True,
) -> None:
    """Raise DataError where image files of the table are not those that the array was made from.

    Files that are gone are said: the array has them. An array of another program knows no files:
    its rows are the table's, in the order of then.
    """
    if array.decoder is None:
        _require_same_order(array, table, arrays)
    if not (array.files or array.file_facts):
        return
    states = array.files or [FileState(facts.bytes, 0, 0, "") for facts in array.file_facts]
    sources = dict(zip(table.names, table.frame["source"], strict=True))
    rows = [row for row, name in enumerate(array.names) if sources.get(name)]
    paths = [table.folder / sources[array.names[row]] for row in rows]
    changes = compare_files([(p, states[row]) for p, row in zip(paths, rows, strict=True)], say=say)
    if changes.other:
        shown = [
            f"{array.names[rows[place]]}: {_difference(paths[place], states[rows[place]])}"
            for place in changes.other
        ]
        raise DataError(
            f"{array.path}: {len(changes.other):,} of {len(array):,} image files have changed "
            f"since it was made from them ({_first(shown)}); put them back, or run python -m "
            f"melanoma.prepare after: {_remedy(array, arrays)}"
        )
    gone = [array.names[rows[place]] for place in changes.absent]
    gone += [name for name in array.names if name in sources and not sources[name]] if rows else []
    if gone:
        say(f"note: {len(gone):,} image files of {array.path} are gone ({_first(gone)})")
    if not array.files:
        say(f"note: {array.path} knows no digests of its image files; their sizes are the same")
    elif changes.renewed and amend:
        files = list(array.files)
        for place, state in changes.renewed.items():
            files[rows[place]] = state
        amend_record(_record_path(array, arrays), files=files)


def _require_same_order(array: ImageArray, table: LesionTable, arrays: Path) -> None:
    """Raise DataError where the rows that both have stand in another order in the table."""
    ours, theirs = set(table.names), set(array.names)
    now = [name for name in table.names if name in theirs]
    then = [name for name in array.names if name in ours]
    moved = [f"{n} where {t} was" for n, t in zip(now, then, strict=True) if n != t]
    if moved:
        raise DataError(
            f"{array.path} was adopted in the order that its table had then: {len(moved):,} rows "
            f"of {table.folder} stand elsewhere now ({_first(moved)}); put the table back, or run "
            f"python -m melanoma.prepare after: {_remedy(array, arrays)}"
        )


def amend_record(record_path: Path, **changes: Any) -> None:
    """Change fields of the array's record, where the folder can be written and is not in use."""
    if not os.access(record_path.parent, os.W_OK) or not record_path.is_file():
        return
    with contextlib.suppress(StorageError), hold_arrays(record_path.parent, wait=0):
        record = read_values(record_path)
        if any(key not in record or record[key] != value for key, value in changes.items()):
            write_json(record_path, {**record, **changes})


def _record_path(array: ImageArray, arrays: Path) -> Path:
    return arrays / f"{array.path.stem}.json"


def _remedy(array: ImageArray, arrays: Path) -> str:
    """What makes room for another array; one that was adopted is not ours to remove."""
    record = _record_path(array, arrays)
    return f"rm {record}" if array.decoder is None else f"rm {array.path} {record}"


def _difference(path: Path, state: FileState) -> str:
    if split_member(path):
        return "other content of the member"
    size = path.stat().st_size if path.is_file() else 0
    if size != state.bytes:
        return f"{state.bytes:,} bytes then, {size:,} now"
    return "other content of the same size"


def _first(shown: Sequence[str]) -> str:
    more = f" and {len(shown) - _SHOWN:,} more" if len(shown) > _SHOWN else ""
    return ", ".join(shown[:_SHOWN]) + more
