"""Readers: from a data folder to a LesionTable, one row an image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from melanoma.data.readers.class_folders import read_class_folders
from melanoma.data.readers.csv_folder import read_csv_folder
from melanoma.data.readers.ham10000 import read_ham10000
from melanoma.data.readers.siim import read_phantoms, read_siim
from melanoma.data.readers.table import LesionTable
from melanoma.recipe.data_sections import Data
from melanoma.recipe.sections import BINARY_CLASSES


def read_lesions(
    folder: Path, data: Data, *, classes: Sequence[str] = BINARY_CLASSES
) -> LesionTable:
    """The labeled table that the recipe's reader finds in `folder`.

    Raises DataError for what is no such table, RecipeError for classes the reader cannot give.
    """
    return READERS[data.reader](folder, data, classes)


# Adding a reader is one function and one line here.
READERS: dict[str, Callable[[Path, Data, Sequence[str]], LesionTable]] = {
    "siim": read_siim,
    "csv_folder": read_csv_folder,
    "ham10000": read_ham10000,
    "class_folders": read_class_folders,
    "phantoms": read_phantoms,
}
