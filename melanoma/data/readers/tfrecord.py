"""TFRecords as Kaggle's melanoma sets have them: photographs and their labels in one file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from melanoma.data.containers import TFRECORD, member_path, tfrecords
from melanoma.data.readers.files import is_system
from melanoma.data.readers.table import ColumnLabels, LesionTable, make_table
from melanoma.errors import DataError
from melanoma.recipe.container_sections import TfrecordData
from melanoma.recipe.data_sections import Data

_COLUMNS = {
    "patient_id": "patient_id",
    "lesion_id": "lesion_id",
    "age": "age_approx",
    "sex": "sex",
    "site": "anatom_site_general_challenge",
}
_TEXTS = ("sex", "anatom_site_general_challenge")  # as numbers they are a code that is not told


def read_tfrecord(folder: Path, data: Data, classes: Sequence[str]) -> LesionTable:
    assert isinstance(data, TfrecordData)
    files = _files(folder, "train") or _files(folder, "")
    if not files:
        raise DataError(f"{folder} holds no TFRecords ({', '.join(TFRECORD)})")
    return _read(folder, files, labels=ColumnLabels("target", classes))


def read_tfrecord_test(folder: Path) -> LesionTable | None:
    files = _files(folder, "test")
    return _read(folder, files, labels=None) if files else None


def _files(folder: Path, start: str) -> list[Path]:
    entries = folder.iterdir() if folder.is_dir() else ()
    ours = (p for p in entries if p.suffix.lower() in TFRECORD and not is_system(p.name))
    return sorted(p for p in ours if p.name.startswith(start))


def _read(folder: Path, files: Sequence[Path], *, labels: ColumnLabels | None) -> LesionTable:
    rows, sources = [], []
    for path in files:
        for offset, features in tfrecords(path):
            rows.append({name: _cell(name, value) for name, value in features.items()})
            sources.append(member_path(path.name, str(offset)))
    table = pd.DataFrame(rows).fillna("")
    for column in ["image_name", *([labels.column] if labels else [])]:
        if column not in table:
            raise DataError(f"{files[0]}: its records have no {column}")
    return make_table(
        folder, table, image_col="image_name", columns=_COLUMNS, sources=sources, labels=labels
    )


def _cell(name: str, value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace").strip()
    if isinstance(value, list) or name in _TEXTS:
        return ""
    if value == -1 and name != "target":  # what is not known
        return ""
    # Every digit: two patients whose numbers begin alike are two.
    return str(value) if isinstance(value, int) else f"{value:.15g}"
