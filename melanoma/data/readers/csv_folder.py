"""Any CSV table beside any folder of images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from melanoma.data.csv_tables import read_table, require_columns
from melanoma.data.readers.files import TABLES, find_tables
from melanoma.data.readers.identities import identity_columns, read_identity
from melanoma.data.readers.index import index_images
from melanoma.data.readers.joined import join_table
from melanoma.data.readers.labels import doubt_column, doubt_melanoma, doubt_rest
from melanoma.data.readers.one_hot import OneHotLabels, class_columns, find_one_hot
from melanoma.data.readers.table import ColumnLabels, Labels, LesionTable, make_table
from melanoma.errors import AbsentError, DataError
from melanoma.recipe.data_sections import CsvFolderData, Data


def read_csv_folder(folder: Path, data: Data, classes: Sequence[str]) -> LesionTable:
    assert isinstance(data, CsvFolderData)
    path = folder / data.table if data.table else _only_csv(folder)
    table = read_table(path, needed=[data.image_col])
    notes = doubt_melanoma(data.positive, data.labels)
    for file, key in data.join.items():
        table, more = join_table(table, folder / file, key)
        notes += more
    optional = {"age": data.age_col, "sex": data.sex_col, "site": data.site_col}
    _require_columns(table, data, [c for c in optional.values() if c], origin=str(path))
    targets = _target_columns(data)
    values = data.target_cols or [cell for column in targets for cell in table[column].unique()]
    notes += doubt_rest(values, data.positive, classes)
    if data.target_col and data.positive is None and data.labels is None:
        notes += doubt_column(data.target_col, values, classes)
    taken = (data.image_col, *targets)
    free = [str(c) for c in table if c not in taken]
    identities = identity_columns(free, data.group_cols, named_are=data.group_is)
    # Under names that no header has: the images may be named by patient_id.
    columns = {ours: f"{ours} " for ours in identities} | optional
    for ours, theirs in identities.items():
        table[columns[ours]] = read_identity(table, theirs)
    index = index_images(folder, inside=data.images)
    return (
        make_table(
            folder,
            table,
            image_col=data.image_col,
            sources=index.find_each(table[data.image_col]),
            columns={ours: theirs for ours, theirs in columns.items() if theirs},
            labels=_labels(data, classes),
            keep=data.keep_cols,
        )
        .but(warnings=notes)
        .beside(index)
    )


def _target_columns(data: CsvFolderData) -> tuple[str, ...]:
    """The columns of the labels; none where the table has no labels."""
    return data.target_cols or (() if data.target_col is None else (data.target_col,))


def _labels(data: CsvFolderData, classes: Sequence[str]) -> Labels | None:
    if not data.target_cols:
        if data.target_col is None:
            return None
        return ColumnLabels(data.target_col, classes, data.positive, data.labels)
    means = class_columns(data.target_cols, classes, positive=data.positive, labels=data.labels)
    return OneHotLabels(means, classes)


def _require_columns(
    table: pd.DataFrame, data: CsvFolderData, optional: Sequence[str], *, origin: str
) -> None:
    """Raise DataError for a column that is not there, or that stands twice."""
    needed = [data.image_col, *_target_columns(data), *data.group_cols]
    header = [str(column) for column in table]
    twice = [name for name in (*needed, *optional) if f"{name}.1" in header]
    if twice:
        raise DataError(f"{origin} has more than one column {', '.join(twice)}")
    try:
        require_columns(header, needed, origin=origin)
    except DataError as error:
        one_hot = find_one_hot(table)
        if data.target_cols or data.target_col in header or not one_hot:
            raise
        raise DataError(
            f"{error}; labels in a column a class: --set 'data.target_cols=[{', '.join(one_hot)}]'"
        ) from error
    require_columns(header, [*optional, *data.keep_cols], origin=origin)


def _only_csv(folder: Path) -> Path:
    tables = find_tables(folder)
    if len(tables) != 1:
        others = [p.name for p in sorted(folder.glob("*")) if p.suffix.lower() in TABLES]
        names = ", ".join(t.name for t in tables) or "none"
        if others and not tables:
            names = f"but {', '.join(others)}, which must be saved as CSV"
        refusal = DataError if tables else AbsentError
        raise refusal(f"{folder} has not one CSV ({names}); name it with --set data.table=FILE")
    return tables[0]
