"""Further tables beside the one that names the images: joined by a column that both have."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from melanoma.data.csv_tables import read_table, require_columns, some_rows
from melanoma.data.placeholders import blank_placeholders
from melanoma.errors import DataError


def join_table(table: pd.DataFrame, path: Path, key: str) -> tuple[pd.DataFrame, list[str]]:
    """`table` with the columns of the CSV at `path`, whose row of the same `key` is looked up, and
    what did not fit, one line a fault. Blank where the CSV has no such row.

    Labels may thus be of lesions and images of a lesion share them. Raises DataError where a key
    has two different rows, or a column of both tables two values.
    """
    require_columns(table.columns, [key], origin=f"the table that {path.name} is joined to")
    other = read_table(path, needed=[key]).drop_duplicates()
    repeated = other[key].duplicated(keep=False)
    twice = repeated & (blank_placeholders(other[key]) != "")
    if twice.any():
        raise DataError(
            f"{path}: {other[key][twice].nunique():,} values of {key} have several rows: "
            f"{', '.join(other[key][twice].unique()[:5])}"
        )
    # `unknown` in several rows names none of them.
    other = other[(other[key] != "") & ~repeated].set_index(key)
    matched = table[key].isin(other.index)
    for column in other:
        values = table[key].map(other[column]).fillna("")
        if column in table:
            differs = matched & (table[column] != values)
            if differs.any():
                raise DataError(
                    f"{path}: {int(differs.sum()):,} rows whose {column} is not that of the table "
                    f"it is joined to: {some_rows(differs, values)}"
                )
        else:
            table[column] = values
    notes = []
    if not matched.all():
        notes.append(
            f"{int((~matched).sum()):,} rows whose {key} is not in {path.name}: "
            f"{some_rows(~matched, table[key])}"
        )
    idle = other.index.difference(pd.Index(table[key]))
    if len(idle):
        notes.append(
            f"{len(idle):,} rows of {path.name} that no image has as its {key}: "
            f"{', '.join(idle[:5])}"
        )
    return table, notes
