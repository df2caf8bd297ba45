"""Embeddings of another model (model.embeddings): a file, and the names of its rows.

NAME.npy is (N, D) of floats; beside it lies NAME.txt, a name a line, or NAME.csv with a column
image_name. They may hold more images than the fold file, in any order.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from melanoma.data.csv_tables import read_table
from melanoma.data.npy_header import read_npy_header
from melanoma.errors import DataError
from melanoma.storage import read_text, sha256_of
from melanoma.training.fold_data import FoldData
from melanoma.types import Integers

_BLOCK = 4096


@dataclass(frozen=True)
class GivenEmbeddings:
    """The file's rows, asked for by rows of the fold's array; `place` says which of the file's."""

    path: Path
    width: int
    place: Integers = field(repr=False)

    def rows(self, rows: Integers) -> npt.NDArray[np.float32]:
        """(len(rows), D) float32, copied; the map lives as long as this call."""
        mapped = np.load(self.path, mmap_mode="r")
        return np.asarray(mapped[self.place[np.asarray(rows, np.int64)]], np.float32)


def embedding_width(path: Path) -> int:
    """D of the file. Raises DataError for what is no such file."""
    return _shape(path)[1]


def embedding_facts(path: Path) -> str:
    """The file's name and the first digits of its sha256: what a run was trained on."""
    _shape(path)
    return f"{path.name}, sha256 {sha256_of(path)[:16]}"


def open_given(path: Path, data: FoldData) -> GivenEmbeddings:
    """The file's embeddings of the fold's images, training and held out.

    Raises DataError where it lacks one of them, names one twice, or holds what is no number.
    """
    length, width = _shape(path)
    names = _names(path)
    if len(names) != length:
        raise DataError(f"{path} has {length:,} rows and {len(names):,} names")
    row_of = {name: row for row, name in enumerate(names)}
    if len(row_of) < len(names):
        raise DataError(f"{path}: a name stands twice")
    used = np.concatenate([data.training, data.validation])
    absent = [data.array.names[row] for row in used if data.array.names[row] not in row_of]
    if absent:
        raise DataError(f"{path} lacks {len(absent):,} images of the folds, such as {absent[0]}")
    place = np.array([row_of.get(name, -1) for name in data.array.names], np.int64)
    embeddings = GivenEmbeddings(path, width, place)
    for start in range(0, len(used), _BLOCK):
        part = used[start : start + _BLOCK]
        finite = np.isfinite(embeddings.rows(part)).all(axis=1)
        if not finite.all():
            name = data.array.names[int(part[~finite][0])]
            raise DataError(f"{path}: the embedding of {name} holds what is no number")
    return embeddings


def _shape(path: Path) -> tuple[int, int]:
    if not path.is_file():
        raise DataError(f"model.embeddings: no file at {path}")
    with path.open("rb") as file:
        shape = read_npy_header(file, path).shape
    if len(shape) != 2 or not min(shape):
        raise DataError(f"{path}: (images, numbers) was expected, found {tuple(shape)}")
    return int(shape[0]), int(shape[1])


def _names(path: Path) -> list[str]:
    table, plain = path.with_suffix(".csv"), path.with_suffix(".txt")
    if table.is_file():
        return [str(name) for name in read_table(table, needed=["image_name"])["image_name"]]
    if plain.is_file():
        return [line.strip() for line in read_text(plain).splitlines() if line.strip()]
    raise DataError(f"{path} has no names: neither {table.name} nor {plain.name} is beside it")
