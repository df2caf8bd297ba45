"""Rows of a table that are no longer what a fold file has of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from fold_tables import held, lesions, parted

from melanoma.data.fold_changes import changed_parts, changed_rows, in_common
from melanoma.data.fold_record import FoldRecord
from melanoma.data.folds import FoldTable, make_folds
from melanoma.data.leaks import audit_folds
from melanoma.data.readers.table import LesionTable

TABLE = lesions([row % 2 for row in range(40)], [f"p{row // 2}" for row in range(40)])
FOLDS = make_folds(TABLE, held(k=4))
RECORD = FoldRecord(folds=FOLDS.digest, rows="", folder="", meaning={})


def with_cell(column: str, value: Any, *rows: int, table: LesionTable = TABLE) -> LesionTable:
    frame = table.frame.copy()
    frame.loc[list(rows), column] = value
    return replace(table, frame=frame)


def test_nothing_has_changed_in_a_table_of_another_order() -> None:
    turned = replace(TABLE, frame=TABLE.frame[::-1].reset_index(drop=True))
    for record in (RECORD, None):
        found = changed_rows(FOLDS, turned, record)
        assert (found.rows, dict(found.kinds)) == ([], {})
    assert in_common(FOLDS, turned) == 40
    assert in_common(FOLDS, replace(TABLE, frame=TABLE.frame[:7])) == 7


def test_every_kind_of_change_is_counted_and_a_row_is_one_sentence() -> None:
    changed = with_cell("label", "melanoma", 0)
    changed = with_cell("age", 55.0, 0, 3, table=changed)
    found = changed_rows(FOLDS, with_cell("sex", "male", 7, table=changed), RECORD)
    assert dict(found.kinds) == {"label": 1, "age": 2, "sex": 1}
    assert found.rows[0] == "i0: label benign -> melanoma, age blank -> 55"
    assert sorted(found.rows[1:]) == ["i3: age blank -> 55", "i7: sex blank -> male"]
    assert str(found).startswith("3 rows (label 1, age 2, sex 1): i0: ")


def test_more_than_five_rows_are_counted_and_not_all_named() -> None:
    said = str(changed_rows(FOLDS, with_cell("label", "other", *range(8)), RECORD))
    assert said.startswith("8 rows (label 8): ") and said.endswith(" and 3 more")
    assert said.count(" -> ") == 5


def test_rows_come_and_go_and_what_was_skipped_is_not_new() -> None:
    extra = TABLE.frame.iloc[[0, 1, 2]].assign(image_name=["new", "bad", "bare"], source="x")
    extra.loc[2, "source"] = ""
    grown = replace(TABLE, frame=pd.concat([TABLE.frame[3:], extra], ignore_index=True))
    record = replace(RECORD, skipped=("bad",))
    found = changed_rows(FOLDS, grown, record)
    assert dict(found.kinds) == {"added": 2, "removed": 3}
    assert "new: only in the table" in found.rows and "bare: only in the table" in found.rows
    assert "i1: no longer in the table" in found.rows
    # Where rows without an image were left out, they are no news.
    lets_go = replace(record, meaning={"data": {"rows": "with_image"}})
    assert dict(changed_rows(FOLDS, grown, lets_go).kinds) == {"added": 1, "removed": 3}
    # Another program's file may be of fewer images, or of more.
    assert not changed_rows(FOLDS, grown, None).rows


def test_a_column_that_the_table_is_silent_about_is_not_compared() -> None:
    told = with_cell("patient_id", "", *range(40))
    assert not changed_rows(FOLDS, told, RECORD).rows
    assert changed_rows(FOLDS, with_cell("patient_id", "", *range(39)), RECORD).kinds == {
        "patient_id": 39
    }


def test_without_a_record_patients_may_be_called_otherwise_but_not_joined() -> None:
    renamed = replace(
        TABLE, frame=TABLE.frame.assign(patient_id=TABLE.frame["patient_id"].map("q{}".format))
    )
    assert not changed_rows(FOLDS, renamed, None).rows
    joined = with_cell("patient_id", "qp5", 0, 1, table=renamed)
    found = changed_rows(FOLDS, joined, None)
    assert found.kinds["patient_id"] == 2
    assert {row.split(":")[0] for row in found.rows} <= {"i0", "i1", "i10", "i11"}
    with_record = changed_rows(FOLDS, renamed, RECORD)
    assert with_record.kinds == {"patient_id": 40}


@pytest.mark.parametrize("column", ["patient_id", "lesion_id"])
def test_a_file_that_knew_no_patients_is_of_a_table_that_does_where_no_fold_parts_them(
    column: str,
) -> None:
    """Earlier versions found fewer columns of patients: their folds go on unless they leak."""
    folds = FoldTable(FOLDS.whole.assign(**{column: ""}))
    known = folds.whole.assign(**{column: FOLDS.whole["group"].map("g{}".format)})
    cells = known.set_index("image_name")[column]
    table = replace(
        TABLE, frame=TABLE.frame.assign(**{column: TABLE.frame["image_name"].map(cells)})
    )
    if column == "lesion_id":  # the patients are as they were
        assert not changed_rows(folds, TABLE, RECORD).rows
    assert not changed_rows(folds, table, RECORD).rows
    fold = folds.whole.set_index("image_name")["fold"]
    other = next(row for row in range(40) if fold[f"i{row}"] != fold["i0"])
    found = changed_rows(folds, with_cell(column, "both", 0, other, table=table), RECORD)
    assert found.kinds == {column: 2}
    assert found.rows == [f"i0: {column} blank -> both", f"i{other}: {column} blank -> both"]


def test_a_file_that_had_12_and_12_0_for_one_patient_goes_on_where_no_fold_parts_them() -> None:
    """Earlier versions took them for two, and may have put them into two folds."""
    number = FOLDS.whole["group"].str.removeprefix("g")
    spelled = number + pd.Series([".0" if row % 2 else "" for row in range(40)], number.index)
    folds = FoldTable(FOLDS.whole.assign(patient_id=spelled))
    cells = FOLDS.whole.assign(patient_id=number).set_index("image_name")["patient_id"]
    names = TABLE.frame["image_name"]
    table = replace(TABLE, frame=TABLE.frame.assign(patient_id=names.map(cells)))
    assert not changed_rows(folds, table, RECORD).rows
    of_another = changed_rows(folds, with_cell("patient_id", "x", 0, table=table), RECORD)
    assert of_another.kinds == {"patient_id": 1}
    fold = folds.whole.set_index("image_name")["fold"]
    parted_rows = folds.whole.assign(
        fold=folds.whole["fold"].mask(folds.whole["image_name"] == "i1", (fold["i1"] + 1) % 4)
    )
    found = changed_rows(FoldTable(parted_rows), table, RECORD)
    assert [row.split(":")[0] for row in found.rows] == ["i1"]
    assert audit_folds(FoldTable(parted_rows)).patients == (cells["i1"],)
    assert audit_folds(folds).patients == ()


def test_a_patient_whose_column_stood_beside_an_empty_one_is_who_it_was() -> None:
    """Earlier versions called it by the column's name as well."""
    folds = FoldTable(FOLDS.whole.assign(patient_id="MRN:" + FOLDS.whole["patient_id"]))
    assert not changed_rows(folds, TABLE, RECORD).rows
    found = changed_rows(folds, with_cell("patient_id", "p9", 0), RECORD)
    assert "i0: patient_id MRN:p0 -> p9" in found.rows


def test_a_sex_that_earlier_versions_kept_as_it_was_written_has_not_changed() -> None:
    folds = FoldTable(FOLDS.whole.assign(sex="weiblich"))
    told = with_cell("sex", "female", *range(40))
    assert not changed_rows(folds, told, RECORD).rows
    assert changed_rows(folds, with_cell("sex", "male", 3, table=told), RECORD).kinds == {"sex": 1}


@pytest.mark.parametrize("holdout", ["folders", "supplied"])
def test_images_that_were_moved_between_the_data_s_own_parts_are_named(holdout: str) -> None:
    part = ["test" if row >= 30 else "train" for row in range(40)]
    rules = held(k=2, holdout=holdout)
    table = parted(part)
    folds = make_folds(table, rules)
    assert changed_parts(folds, table, rules) == ""
    moved = with_cell("part", "train", 33, table=with_cell("part", "test", 2, table=table))
    said = changed_parts(folds, moved, rules)
    fold = FoldTable(folds.whole).whole.set_index("image_name")["fold"]["i2"]
    assert said == f"2 images (i2: fold {fold} -> test, i33: test -> train)"
    # Folds that are not by the data's parts do not care.
    assert changed_parts(folds, moved, held(k=2, holdout=0.2)) == ""


def test_a_split_of_the_data_s_own_has_training_images_too() -> None:
    table, rules = parted(["train"] * 20 + ["valid"] * 10 + ["test"] * 10), held(k=5)
    folds = make_folds(table, rules)
    assert changed_parts(folds, table, rules) == ""
    said = changed_parts(folds, with_cell("part", "valid", 4, table=table), rules)
    assert said == "1 images (i4: training -> valid)"
    said = changed_parts(folds, with_cell("part", "train", 25, 35, table=table), rules)
    assert said == "2 images (i25: fold 0 -> train, i35: test -> train)"
