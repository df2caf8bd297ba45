"""Rows of an array of squares as images: x_test_S.npy as Kaggle has it, or as prepare records it.

A row goes on as the PNG of its pixels, without loss: whatever scores photographs scores it too, and
gives what it gave to the row at training.
"""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import yaml
from PIL import Image

from melanoma.data.arrays import (
    ImageArray,
    check_array,
    differing_rows,
    open_record,
    require_red_skin,
)
from melanoma.data.csv_tables import read_table
from melanoma.data.readers.npy_arrays import name_rows, open_npy
from melanoma.errors import DataError

SUFFIX = ".npy"


class SquareRow(NamedTuple):
    """One row of an array; `png` is its pixels."""

    array: ImageArray
    row: int

    def png(self) -> bytes:
        """The square, S x S, as PNG."""
        (pixels,) = self.array.rows([self.row])
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG", compress_level=1)
        return file.getvalue()


def open_squares(
    path: Path,
    *,
    names: Path | None,
    column: str,
    channels: str | None,
    say: Callable[[str], None],
) -> ImageArray:
    """The array at `path`, a .npy file or prepare's record of one, each row with its name.

    Names come from the record beside it, where its table still has them in that order; else from
    the table `names`, or a table beside it that is called as the array is (test.csv of
    x_test_128.npy); else they are the rows' numbers. `say` is told which. Raises DataError for what
    is no array of squares, or does not fit its names.
    """
    record = path.with_suffix(".json")
    if names is None and record.is_file():
        array = open_record(record)
        _require_same_names(array, column)
        changed = differing_rows(array)
        if changed:
            raise DataError(
                f"{array.path}: {len(changed):,} rows are not the pixels that {record} recorded; "
                "run prepare again"
            )
        say(f"{array.path}: {len(array):,} squares, named by {record}")
        return array if channels is None else replace(array, channels=channels)
    mapped = open_npy(path)
    rows, size = len(mapped), int(mapped.shape[1]) if mapped.ndim > 1 else 0
    check_array(path, size=size, rows=rows)
    table = names or _table_beside(path)
    if table is None:
        row_names = [str(row) for row in range(rows)]
        say(
            f"{path}: {rows:,} squares; no {_table_name(path)} beside it (--names FILE), so that "
            "each is named by its row's number, from 0"
        )
    else:
        row_names = name_rows(rows, table, column)
        say(f"{path}: {rows:,} squares, named by {table} in its order")
    array = ImageArray(path.resolve(), size, tuple(row_names), (), channels=channels or "rgb")
    require_red_skin(array, option="--array-channels")
    return array


def arrays_in(folder: Path) -> list[Path]:
    """Arrays of test images in `folder`, or prepare's records of them, by size."""
    by_stem = {path.stem: path for path in folder.glob("x_test*.json")}
    by_stem |= {path.stem: path for path in folder.glob("x_test*.npy")}
    return [by_stem[stem] for stem in sorted(by_stem)]


def own_table(path: Path) -> Path | None:
    """What names the rows of the array at `path`: its record, or the table beside it."""
    record = path.with_suffix(".json")
    return record if record.is_file() else _table_beside(path)


def _require_same_names(array: ImageArray, column: str) -> None:
    """Raise DataError where an adopted array's table names its rows otherwise than its record."""
    table = _table_beside(array.path)
    if array.decoder is not None or table is None:
        return
    frame = read_table(table, needed=[])
    names = frame[column].tolist() if column in frame else list(array.names)
    if names != list(array.names):
        pairs = itertools.zip_longest(array.names, names, fillvalue="none")
        differ = [f"{then} -> {now}" for then, now in pairs if then != now]
        raise DataError(
            f"{array.path} was named by {table}, which has changed since: {len(differ):,} rows "
            f"({', '.join(differ[:3])}); run python -m melanoma.prepare after removing the record, "
            "or name the table with --names"
        )


def trained_channels(bundle: Path) -> str | None:
    """The order of an adopted array's channels that the bundle's recipe states; None where it
    states none."""
    try:
        recipe = yaml.safe_load((bundle / "recipe.yaml").read_text(encoding="utf-8"))
        channels = recipe["data"].get("array_channels")
    except (OSError, ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError):
        return None  # whoever loads the bundle says what is wrong with it
    return channels if channels in ("rgb", "bgr") else None


def _table_name(path: Path) -> str:
    part = re.match(r"x_(train|test)", path.stem)
    return f"{part[1] if part else 'test'}.csv"


def _table_beside(path: Path) -> Path | None:
    table = path.parent / _table_name(path)
    return table if table.is_file() else None
