"""Options of the data section that a command line gave once: the array and the fold file keep them.

A later command on the same array or fold file, with the same recipe, need not repeat them.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from melanoma.recipe.data_section import DataSection
from melanoma.recipe.data_sections import CsvFolderData
from melanoma.storage import read_file, read_text

_DATA = "data."


def split_options(overrides: Sequence[str]) -> tuple[list[str], list[str]]:
    """The overrides (`a.b=value`) of the data section, and the others."""
    ours = [option for option in overrides if option.startswith(_DATA)]
    return ours, [option for option in overrides if not option.startswith(_DATA)]


def recall_options(
    base: dict[str, Any], requested: Sequence[str], records: Sequence[Path]
) -> dict[str, Path]:
    """Options that `records` keep for a recipe whose data section is `base` as its file has it,
    each with the record that it is from; without fields that `requested` says anew.

    None where `requested` names another reader than they do.
    """
    recalled: dict[str, Path] = {}
    for path in records:
        options = _read(path)
        given_then = options.get("given")
        if options.get("base") == base and isinstance(given_then, list):
            recalled |= dict.fromkeys(map(str, given_then), path)
    readers = [_value(o) for o in (*recalled, *requested) if _field(o) == "data.reader"]
    named = [_value(option) for option in requested if _field(option) == "data.reader"]
    if named and set(named) != set(readers):
        return {}
    requested_fields = {_field(option) for option in requested}
    return {
        option: path for option, path in recalled.items() if _field(option) not in requested_fields
    }


def keep_options(record: Path, base: dict[str, Any], options: Sequence[str]) -> dict[str, Any]:
    """What the record at `record` should have as `options`: these, or what it has where none are
    given."""
    if not options:
        return _read(record)
    return {"base": base, "given": list(dict.fromkeys(options))}


def fits_table(data: DataSection, folder: Path) -> bool:
    """Whether the folder has a table with the column of images that the section names, or no table.

    Options that were kept for one data set are not meant for another.
    """
    if not isinstance(data, CsvFolderData) or not folder.is_dir():
        return True
    headers = list(_headers(folder))
    return not headers or any(data.image_col in header for header in headers)


def describe_options(recalled: dict[str, Path]) -> str:
    """The options that were recalled, and where they are kept, as a line."""
    shown = [option for option in recalled if _field(option) != "data.reader"] or list(recalled)
    origin = ", ".join(dict.fromkeys(map(str, recalled.values())))
    return f"as {origin} has it: {', '.join(f'--set {option}' for option in shown)}"


def _headers(folder: Path) -> Iterator[set[str]]:
    from melanoma.data.readers.files import find_tables  # cv2, which --help need not wait for

    for path in find_tables(folder):
        try:
            line = read_file(path)[:100_000].decode("utf-8-sig", errors="replace").splitlines()[:1]
        except OSError:
            continue
        yield {cell.strip() for cell in next(csv.reader(line), [])}


def read_record(path: Path) -> dict[str, Any]:
    """The values of a record; empty where there is none that can be read."""
    try:
        values = json.loads(read_text(path))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def _read(path: Path) -> dict[str, Any]:
    options = read_record(path).get("options")
    return options if isinstance(options, dict) else {}


def _field(option: str) -> str:
    return option.partition("=")[0]


def _value(option: str) -> str:
    return option.partition("=")[2].strip("'\" ")
