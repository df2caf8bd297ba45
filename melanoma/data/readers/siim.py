"""Kaggle's SIIM-ISIC layout: train.csv and test.csv with jpeg/train and jpeg/test. Phantoms too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from melanoma.data.csv_tables import read_table
from melanoma.data.phantoms.dataset import make_phantoms
from melanoma.data.readers.files import find_tables, some_names
from melanoma.data.readers.index import index_images
from melanoma.data.readers.table import ColumnLabels, LesionTable, make_table
from melanoma.errors import AbsentError
from melanoma.recipe.data_sections import Data, PhantomData, SiimData


def read_siim_test(folder: Path) -> LesionTable | None:
    """Kaggle's test.csv with jpeg/test, unlabeled; None when there is none."""
    if not (folder / "test.csv").is_file():
        return None
    table = read_table(folder / "test.csv", needed=["image_name"])
    return siim_table(folder, table, part="test")


def read_siim(folder: Path, data: Data, classes: Sequence[str]) -> LesionTable:
    assert isinstance(data, SiimData | PhantomData)
    path = folder / "train.csv"
    others = [other.name for other in find_tables(folder)]
    if others and not path.exists():
        raise AbsentError(
            f"no table at {path}, but there is {some_names(others)}; of another table name the "
            "columns: --image-col, --target-col and, of patients, --group-col"
        )
    table = read_table(path, needed=["image_name", "patient_id", "target"])
    labels = ColumnLabels("target", classes)
    return siim_table(folder, table, part="train", labels=labels)


def read_phantoms(folder: Path, data: Data, classes: Sequence[str]) -> LesionTable:
    assert isinstance(data, PhantomData)
    if not (folder / "train.csv").is_file():
        make_phantoms(
            folder, images=data.images, patients=data.patients, size=data.size, seed=data.seed
        )
    return read_siim(folder, data, classes)


def siim_table(
    folder: Path, table: pd.DataFrame, *, part: str, labels: ColumnLabels | None = None
) -> LesionTable:
    columns = {
        "patient_id": "patient_id",
        "lesion_id": "lesion_id",
        "age": "age_approx",
        "sex": "sex",
        "site": "anatom_site_general_challenge",
    }
    index = index_images(folder, inside=f"jpeg/{part}")
    return make_table(
        folder,
        table,
        image_col="image_name",
        columns=columns,
        sources=index.find_each(table["image_name"]),
        labels=labels,
        keep=[c for c in ("diagnosis",) if c in table],
    ).beside(index)
