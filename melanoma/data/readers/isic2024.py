"""ISIC 2024 (SLICE-3D) as Kaggle has it: train-metadata.csv beside train-image.hdf5."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from melanoma.data.containers import hdf5_keys, member_path
from melanoma.data.csv_tables import read_table
from melanoma.data.readers.table import ColumnLabels, LesionTable, make_table
from melanoma.errors import DataError
from melanoma.recipe.container_sections import Isic2024Data
from melanoma.recipe.data_sections import Data

_COLUMNS = {
    "patient_id": "patient_id",
    "lesion_id": "lesion_id",
    "age": "age_approx",
    "sex": "sex",
    "site": "anatom_site_general",
}


def read_isic2024(folder: Path, data: Data, classes: Sequence[str]) -> LesionTable:
    assert isinstance(data, Isic2024Data)
    return _read(folder, "train", labels=ColumnLabels("target", classes))


def read_isic2024_test(folder: Path) -> LesionTable | None:
    if not (folder / "test-metadata.csv").is_file():
        return None
    return _read(folder, "test", labels=None)


def _read(folder: Path, part: str, *, labels: ColumnLabels | None) -> LesionTable:
    needed = ["isic_id", "patient_id", *([labels.column] if labels else [])]
    table = read_table(folder / f"{part}-metadata.csv", needed=needed)
    container = f"{part}-image.hdf5"
    if not (folder / container).is_file():
        raise DataError(f"{folder} has no {container}, whose images the table names")
    names, there = table["isic_id"], set(hdf5_keys(folder / container))
    lesion_table = make_table(
        folder,
        table,
        image_col="isic_id",
        columns=_COLUMNS,
        sources=[member_path(container, name) if name in there else "" for name in names],
        labels=labels,
        keep=[c for c in ("iddx_full",) if c in table],
    )
    bare = dict.fromkeys(names[~names.isin(there)], f"no member of {container}")
    unlabeled = sorted(member_path(container, name) for name in there - set(names))
    return replace(lesion_table, unlabeled=tuple(unlabeled), unmatched=bare)
