"""Kaggle's arrays alone: x_train_S.npy beside y_train.npy, without a table or a photograph."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from melanoma.data.csv_tables import read_table
from melanoma.data.npy_header import read_npy_header
from melanoma.data.readers.table import ColumnLabels, LesionTable, make_table
from melanoma.errors import DataError
from melanoma.recipe.data_sections import Data, NpyArrayData
from melanoma.storage import open_file, sha256_of


def read_npy_arrays(folder: Path, data: Data, classes: Sequence[str]) -> LesionTable:
    """A row an image of x_train, labeled by y_train.npy; no image has a file of its own."""
    assert isinstance(data, NpyArrayData)
    path = folder / data.labels_file
    labels = read_labels(path)
    # Rows have no names. A part of the labels' digest keeps those of two sets apart.
    stem = f"train_{sha256_of(path)[:6]}"
    table = pd.DataFrame(
        {"image_name": [f"{stem}_{row:05d}" for row in range(len(labels))], "target": labels}
    )
    columns = {}
    if data.groups_file is not None:
        table["group"] = _read_groups(folder / data.groups_file, rows=len(labels))
        columns = {"patient_id": "group"}
    return make_table(
        folder,
        table,
        image_col="image_name",
        columns=columns,
        sources=[""] * len(table),
        labels=ColumnLabels("target", classes, labels=data.labels),
    )


def read_npy_test(folder: Path) -> LesionTable | None:
    """A row an image of x_test, named by test.csv where there is one; None without x_test."""
    arrays = test_arrays(folder)
    if not arrays:
        return None
    rows = len(open_npy(arrays[0]))
    names = name_rows(rows, folder / "test.csv") if (folder / "test.csv").is_file() else None
    table = pd.DataFrame({"image_name": names or [str(row) for row in range(rows)]})
    return make_table(
        folder, table, image_col="image_name", columns={}, sources=[""] * rows, labels=None
    )


def test_arrays(folder: Path) -> list[Path]:
    """Arrays of test images in `folder`: x_test.npy, x_test_S.npy."""
    return sorted([*folder.glob("x_test.npy"), *folder.glob("x_test_*.npy")])


def open_npy(path: Path) -> npt.NDArray[Any]:
    """The array of a .npy file, not read yet. Raises DataError for what is none."""
    try:
        with open_file(path) as file:
            if read_npy_header(file, path).shape[:1] == (0,):
                raise DataError(f"{path} holds no rows")
        mapped: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise DataError(f"no array at {path} ({error.strerror or error})") from error
    if mapped.ndim == 0:
        raise DataError(f"{path} holds a single value, and no row an image")
    return mapped


def name_rows(rows: int, table: Path, column: str = "image_name") -> list[str]:
    """The names of an array's rows from a table in the same order. Raises DataError where it has
    another number of rows, for then no row's name is known, or a blank in the place of one."""
    names: list[str] = read_table(table, needed=[column])[column].tolist()
    if len(names) != rows:
        raise DataError(
            f"{table} has {len(names):,} rows and the array {rows:,} images: which name is whose "
            "cannot be known"
        )
    _require(np.array([name != "" for name in names]), table, f"named by {column}")
    return names


def read_labels(path: Path) -> list[str]:
    """A label a row as text: of (N,) or (N, 1) numbers or texts, or of one-hot (N, C).

    Raises DataError naming the first rows that are no label.
    """
    labels = open_npy(path)
    if labels.ndim == 2 and labels.shape[1] > 1:
        return _of_one_hot(np.asarray(labels), path)
    if labels.ndim > 2:
        raise DataError(f"{path}: labels of shape {labels.shape}; (N,) or one-hot (N, C) is needed")
    cells = np.asarray(labels).reshape(-1)
    if cells.dtype.kind in "fiub":
        numbers = cells.astype(np.float64)
        _require(np.isfinite(numbers) & (numbers == np.round(numbers)), path, "whole numbers")
        return [str(int(number)) for number in numbers]
    if cells.dtype.kind == "S":
        return [cell.decode("utf-8", "replace").strip() for cell in cells.tolist()]
    return [str(cell).strip() for cell in cells]


def _of_one_hot(labels: npt.NDArray[Any], path: Path) -> list[str]:
    _require(((labels == 1).sum(axis=1) == 1) & ((labels != 0).sum(axis=1) == 1), path, "one 1")
    return [str(number) for number in labels.argmax(axis=1)]


def _require(sound: npt.NDArray[np.bool_], path: Path, needed: str) -> None:
    bad = np.flatnonzero(~sound)
    if len(bad):
        shown = ", ".join(map(str, bad[:5])) + (", ..." if len(bad) > 5 else "")
        raise DataError(f"{path}: {len(bad)} rows are not {needed}: rows {shown} (from 0)")


def _read_groups(path: Path, *, rows: int) -> list[str]:
    groups = np.asarray(open_npy(path)).reshape(-1)
    if len(groups) != rows:
        raise DataError(f"{path}: {len(groups):,} groups for {rows:,} labels")
    return [str(group).strip() for group in groups]
