"""Any CSV table beside any folder of images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from melanoma.data.csv_tables import read_table, require_columns
from melanoma.data.readers.identities import identity_columns, read_identity
from melanoma.data.readers.index import index_images
from melanoma.data.readers.table import ColumnLabels, LesionTable, make_table
from melanoma.errors import DataError
from melanoma.recipe.data_sections import CsvFolderData, Data


def read_csv_folder(folder: Path, data: Data, classes: Sequence[str]) -> LesionTable:
    assert isinstance(data, CsvFolderData)
    path = folder / data.table if data.table else _only_csv(folder)
    needed = [data.image_col, data.target_col, *data.group_cols]
    table = read_table(path, needed=needed)
    optional = {"age": data.age_col, "sex": data.sex_col, "site": data.site_col}
    named = [*(c for c in optional.values() if c), *data.keep_cols]
    require_columns(table.columns, named, origin=str(path))
    free = [str(c) for c in table if c not in (data.image_col, data.target_col)]
    identities = identity_columns(free, data.group_cols, named_are=data.group_is)
    # Under names that no header has: the images may be named by patient_id.
    columns = {ours: f"{ours} " for ours in identities} | optional
    for ours, theirs in identities.items():
        table[columns[ours]] = read_identity(table, theirs)
    index = index_images(folder, inside=data.images)
    return make_table(
        folder,
        table,
        image_col=data.image_col,
        sources=index.find_each(table[data.image_col]),
        columns={ours: theirs for ours, theirs in columns.items() if theirs},
        labels=ColumnLabels(data.target_col, classes, data.positive, data.labels),
        keep=data.keep_cols,
    ).beside(index)


def _only_csv(folder: Path) -> Path:
    tables = sorted(folder.glob("*.csv"))
    if len(tables) != 1:
        names = ", ".join(t.name for t in tables) or "none"
        raise DataError(f"{folder} has not one CSV ({names}); name it with --set data.table=FILE")
    return tables[0]
