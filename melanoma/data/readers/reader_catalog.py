"""Readers: from a data folder to a LesionTable, one row an image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from melanoma.data.readers.class_folders import read_class_folders
from melanoma.data.readers.csv_folder import read_csv_folder
from melanoma.data.readers.ham10000 import read_ham10000
from melanoma.data.readers.isic import read_isic
from melanoma.data.readers.isic2024 import read_isic2024, read_isic2024_test
from melanoma.data.readers.npy_arrays import read_npy_arrays, read_npy_test
from melanoma.data.readers.siim import read_phantoms, read_siim, read_siim_test
from melanoma.data.readers.table import LesionTable
from melanoma.data.readers.tfrecord import read_tfrecord, read_tfrecord_test
from melanoma.recipe.data_sections import Data
from melanoma.recipe.sections import BINARY_CLASSES


@dataclass(frozen=True)
class Reader:
    """How a layout is read; what it is called and what it may say stands in its recipe section.

    `read` makes the labeled table of a folder, for these classes. `read_test` makes the table of
    unlabeled test images, None where the folder has none. `draws` says that reading an empty
    folder fills it.
    """

    read: Callable[[Path, Data, Sequence[str]], LesionTable]
    read_test: Callable[[Path], LesionTable | None] | None = None
    draws: bool = False


def read_lesions(
    folder: Path, data: Data, *, classes: Sequence[str] = BINARY_CLASSES
) -> LesionTable:
    """The labeled table that the recipe's reader finds in `folder`.

    Raises DataError for what is no such table, RecipeError for classes the reader cannot give.
    """
    return READERS[data.reader].read(folder, data, classes)


def read_test_lesions(folder: Path, data: Data) -> LesionTable | None:
    """The unlabeled test images beside them; None when there are none. Raises DataError."""
    read = READERS[data.reader].read_test
    return read(folder) if read else None


# Adding a reader is one function here and its section in melanoma.recipe.data_sections.
READERS: dict[str, Reader] = {
    "siim": Reader(read_siim, read_test=read_siim_test),
    "csv_folder": Reader(read_csv_folder),
    "ham10000": Reader(read_ham10000),
    "class_folders": Reader(read_class_folders),
    "phantoms": Reader(read_phantoms, read_test=read_siim_test, draws=True),
    "npy_arrays": Reader(read_npy_arrays, read_test=read_npy_test),
    "isic": Reader(read_isic),
    "isic2024": Reader(read_isic2024, read_test=read_isic2024_test),
    "tfrecord": Reader(read_tfrecord, read_test=read_tfrecord_test),
}
