"""The ISIC Archive's export: a table of isic_id and diagnoses beside a folder of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from melanoma.data.csv_tables import read_table, some_rows
from melanoma.data.placeholders import blank_placeholders, is_placeholder
from melanoma.data.readers.index import index_images
from melanoma.data.readers.labels import UNLABELED, names_melanoma, read_targets
from melanoma.data.readers.table import LesionTable, make_table
from melanoma.errors import DataError
from melanoma.recipe.archive_sections import IsicData
from melanoma.recipe.data_sections import Data

_COLUMNS = {
    "patient_id": "patient_id",
    "lesion_id": "lesion_id",
    "age": "age_approx",
    "sex": "sex",
    "site": "anatom_site_general",
}
# From the coarsest to the finest; `diagnosis` and `benign_malignant` stand in older exports.
_DIAGNOSES = (*(f"diagnosis_{level}" for level in range(1, 6)), "diagnosis")
_COARSE = ("diagnosis_1", "benign_malignant")
_KEPT = (
    *(*_DIAGNOSES, "image_type", "diagnosis_confirm_type", "concomitant_biopsy", "melanocytic"),
    *("anatom_site_special", "attribution", "fitzpatrick_skin_type"),
)


class DiagnosisLabels(NamedTuple):
    """Classes by the values of a column, or, without one, melanoma against the rest."""

    classes: Sequence[str]
    column: str | None
    meanings: Mapping[str, str] | None
    left_out: pd.Series

    def read(self, table: pd.DataFrame) -> tuple[pd.Series, list[str]]:
        """Class numbers, UNLABELED where there is no diagnosis or the row is left out, and what is
        wrong with the others."""
        undiagnosed = find_undiagnosed(table, self.column, self.meanings) | self.left_out
        if undiagnosed.all():
            raise DataError(f"no row has a diagnosis ({self.column or ', '.join(_DIAGNOSES)})")
        if self.column is None:
            numbers, problems = _read_melanoma(table, self.left_out)
        else:
            # Another row's diagnosis in place of none, so that rows keep their lines.
            known = table[self.column][~undiagnosed].iloc[0]
            cells = table[self.column].mask(undiagnosed, known)
            numbers, problems = read_targets(cells, self.classes, labels=self.meanings)
        return numbers.where(~undiagnosed, UNLABELED), problems


def read_isic(folder: Path, data: Data, classes: Sequence[str]) -> LesionTable:
    assert isinstance(data, IsicData)
    table = read_table(folder / data.table, needed=["isic_id", *_named(data)])
    index = index_images(folder, inside=data.images)
    other = _other_types(table, data.image_types)
    lesion_table = make_table(
        folder,
        table,
        image_col="isic_id",
        columns=_COLUMNS,
        sources=index.find_each(table["isic_id"]),
        labels=DiagnosisLabels(classes, data.diagnosis_col, data.labels, other),
        keep=[c for c in _KEPT if c in table],
    ).beside(index)
    bare = find_undiagnosed(table, data.diagnosis_col, data.labels) & ~other
    if data.undiagnosed == "refuse" and bare.any():
        shown = some_rows(bare, table["isic_id"])
        fault = (
            f"{int(bare.sum()):,} rows without a diagnosis that says whether it is a melanoma "
            f"(none, indeterminate, malignant and no more): {shown}"
        )
        lesion_table = lesion_table.but(
            problems=[f"{fault}; --set data.undiagnosed=leave_out leaves them out"]
        )
        bare &= False
    return _without(
        lesion_table, table, {"of another image_type": other, "without a diagnosis": bare}
    )


def find_undiagnosed(
    table: pd.DataFrame, column: str | None, meanings: Mapping[str, str] | None
) -> pd.Series:
    """Rows that say neither what the lesion is nor that it is no melanoma."""
    columns = [column] if column else [c for c in (*_COARSE, *_DIAGNOSES) if c in table]
    if not columns:
        raise DataError(f"the table has none of {', '.join((*_DIAGNOSES, 'benign_malignant'))}")
    cells = table[columns[0]]
    known = set(meanings or ())
    says_nothing = {c: is_placeholder(c) or _is_open(c) for c in cells.unique() if c not in known}
    open_rows = cells.map(says_nothing).fillna(False).astype(bool)
    if column is None and columns[0] in _COARSE:
        # Malignant and no more may be a melanoma or a carcinoma.
        finer = table[[c for c in _DIAGNOSES if c in table and c not in _COARSE]]
        silent = finer.apply(lambda one: blank_placeholders(one) == "").all(axis=1)
        open_rows |= silent & (cells.str.lower() == "malignant")
    return open_rows


def _is_open(cell: str) -> bool:
    return cell.lower().startswith("indeterminate")


def _read_melanoma(table: pd.DataFrame, left_out: pd.Series) -> tuple[pd.Series, list[str]]:
    melanoma = pd.Series(False, table.index)
    for column in (c for c in _DIAGNOSES if c in table):
        values = {cell: names_melanoma(cell) for cell in table[column].unique()}
        melanoma |= table[column].map(values).astype(bool)
    coarse = next((c for c in _COARSE if c in table), None)
    if coarse is None:
        return melanoma.astype(int), []
    bad = melanoma & (table[coarse].str.lower() == "benign") & ~left_out
    fault = f"{int(bad.sum())} melanomas whose {coarse} is benign: {some_rows(bad, table[coarse])}"
    return melanoma.astype(int), [fault] if bad.any() else []


def _named(data: IsicData) -> list[str]:
    return [*([data.diagnosis_col] if data.diagnosis_col else [])] + (
        ["image_type"] if data.image_types else []
    )


def _other_types(table: pd.DataFrame, types: Sequence[str]) -> pd.Series:
    if not types:
        return pd.Series(False, table.index)
    other = ~table["image_type"].isin(types)
    if other.all():
        known = ", ".join(map(repr, table["image_type"].unique()[:8]))
        raise DataError(f"no row has an image_type of {', '.join(types)} (found: {known})")
    return other


def _without(
    lesion_table: LesionTable, table: pd.DataFrame, left_out: dict[str, pd.Series]
) -> LesionTable:
    """The table without these rows, each reason said with its count; their images are no others."""
    rows = pd.concat(left_out.values(), axis=1).any(axis=1)
    if not rows.any():
        return lesion_table
    gone = lesion_table.frame["image_name"].isin(table["isic_id"][rows])
    named = set(lesion_table.frame["source"][gone])
    notes = [
        f"{int(r.sum()):,} rows {why} left out: {some_rows(r, table['isic_id'])}"
        for why, r in left_out.items()
        if r.any()
    ]
    return replace(
        lesion_table.but(warnings=notes),
        frame=lesion_table.frame[~gone].reset_index(drop=True),
        unlabeled=tuple(path for path in lesion_table.unlabeled if path not in named),
        unmatched={
            k: v for k, v in lesion_table.unmatched.items() if k not in set(table["isic_id"][rows])
        },
    )
