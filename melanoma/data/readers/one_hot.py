"""Labels in a column a class: exactly one 1 a row, as in the ground truth of ISIC 2018 and 2019."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from melanoma.data.csv_tables import some_rows
from melanoma.data.readers.labels import UNLABELED

_VALUES = {"0": 0, "0.0": 0, "1": 1, "1.0": 1, "false": 0, "true": 1}


class OneHotLabels(NamedTuple):
    """The columns, and the class that each of them means."""

    means: Mapping[str, str]
    classes: Sequence[str]

    def read(self, table: pd.DataFrame) -> tuple[pd.Series, list[str]]:
        """Class numbers, UNLABELED where a row has not exactly one 1, and what is wrong."""
        columns = list(self.means)
        ones = _read_cells(table, columns)
        sound = ones.notna().all(axis=1) & (ones.sum(axis=1) == 1)
        numbers = [self.classes.index(self.means[column]) for column in columns]
        targets = pd.Series(ones.fillna(0).to_numpy() @ numbers, table.index).astype(int)
        problems = []
        if not sound.all():
            cells = table.loc[~sound, columns].agg(",".join, axis=1).reindex(table.index)
            problems.append(
                f"{int((~sound).sum()):,} rows without exactly one 1 among {','.join(columns)}: "
                f"{some_rows(~sound, cells)}"
            )
        present = set(targets[sound])
        absent = [name for number, name in enumerate(self.classes) if number not in present]
        if absent:
            problems.append(f"no row has its 1 in a column of {', '.join(map(repr, absent))}")
        return targets.where(sound, UNLABELED), problems


def class_columns(
    columns: Sequence[str],
    classes: Sequence[str],
    *,
    positive: Sequence[str] | None = None,
    labels: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The class that each column means: what `labels` says, or of two classes `positive`, else that
    of its name. A column that means none is left out."""
    if positive is not None:
        return {column: classes[int(column in positive)] for column in columns}
    class_of = {column: (labels or {}).get(column, column) for column in columns}
    return {column: name for column, name in class_of.items() if name in classes}


def find_one_hot(table: pd.DataFrame) -> list[str]:
    """The columns that look like labels a class: 0 or 1 in every row, and one 1 among them."""
    columns = [str(c) for c in table if set(table[c].str.lower()) <= set(_VALUES)]
    if len(columns) < 2 or not (_read_cells(table, columns).sum(axis=1) == 1).all():
        return []
    return columns


def _read_cells(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame({c: table[c].str.lower().map(_VALUES) for c in columns}, table.index)
