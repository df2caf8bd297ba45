"""Sources: soft targets as they are meant, rows frozen, and nobody held out among them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from melanoma.data.arrays import ImageArray
from melanoma.data.duplicates.search import IDENTICAL, SharedImage
from melanoma.data.folds import TEST, FoldTable
from melanoma.data.readers.table import LesionTable
from melanoma.data.sources import (
    SourceTable,
    join_sources,
    load_rows,
    save_rows,
    source_rows,
)
from melanoma.errors import DataError, FoldError
from melanoma.recipe.data_sections import CsvFolderData
from melanoma.recipe.source_section import Source

CLASSES = ("nevus", "melanoma", "other")


def source_of(name: str = "year", **changes: Any) -> Source:
    values: dict[str, Any] = {
        "name": name,
        "data": {"reader": "csv_folder"},
        "means": {"benign": ["nevus", "other"]},
    }
    section = {"reader": "csv_folder", "sources": [{**values, **changes}]}
    return CsvFolderData.model_validate(section).sources[0]


def array_of(*names: str) -> ImageArray:
    return ImageArray(Path("none.npy"), 32, names, tuple(f"d{name}" for name in names))


def table_of(source: Source, rows: list[tuple[str, str, str, str]]) -> SourceTable:
    columns = ["image_name", "patient_id", "lesion_id", "label"]
    frame = pd.DataFrame(rows, columns=columns).assign(soft_target="")
    return SourceTable(source, array_of(*frame["image_name"]), frame)


def lesions(**columns: list[str]) -> LesionTable:
    frame = pd.DataFrame(
        {"image_name": ["a", "b", "c"], "patient_id": "", "lesion_id": "", "label": "", **columns}
    )
    return LesionTable(frame, Path("year"))


def test_labels_are_the_classes_that_a_row_may_be_of() -> None:
    rows = [("a", "", "", "melanoma"), ("b", "", "", "benign"), ("c", "", "", "")]
    found = table_of(source_of(), rows).possible(CLASSES)
    assert found.tolist() == [[0, 1, 0], [1, 0, 1], [0, 0, 0]]


def test_soft_targets_are_read_as_probability_or_logit_and_moved_by_the_shift() -> None:
    rules = {"column": "p", "scale": "logit", "shift": 1.0}
    source = source_of(data={"reader": "csv_folder", "target_col": None}, soft_target=rules)
    found = source_rows(source, lesions(p=["0", "", "-1"]), array_of("c", "a", "b")).soft
    assert found[:2] == pytest.approx([0.5, 1 / (1 + np.exp(-1))])
    assert np.isnan(found[2])
    plain = source_of(soft_target={"column": "p"})
    found = source_rows(plain, lesions(p=["0.25", "0", "1"]), array_of("a", "b", "c")).soft
    assert found == pytest.approx([0.25, 0, 1], abs=1e-5)


@pytest.mark.parametrize("cell", ["1.5", "high", "inf"])
def test_what_is_no_probability_is_refused_with_its_row(cell: str) -> None:
    source = source_of(soft_target={"column": "p"})
    with pytest.raises(DataError, match="1 rows whose p is no probability"):
        source_rows(source, lesions(p=["0.5", cell, ""]), array_of("a", "b", "c"))


def test_rows_are_frozen_and_another_array_is_refused(tmp_path: Path) -> None:
    table = table_of(source_of(), [("a", "p", "", "melanoma"), ("b", "", "l", "benign")])
    save_rows(table, tmp_path)
    again = load_rows(table.source, table.array, tmp_path)
    assert again is not None
    assert again.digest == table.digest
    with pytest.raises(DataError, match="hold different images"):
        load_rows(table.source, array_of("b", "a"), tmp_path)
    with pytest.raises(DataError, match="'benign' is none of the classes"):
        load_rows(source_of(classes=["naevus", "melanoma"]), table.array, tmp_path)


def folds_of(*rows: tuple[str, str, str, int]) -> FoldTable:
    frame = pd.DataFrame(rows, columns=["image_name", "patient_id", "group", "fold"])
    return FoldTable(frame.assign(lesion_id="", target=0))


OURS = folds_of(
    ("m0", "p0", "g0", 0), ("m1", "p1", "g1", 1), ("m2", "p2", "g2", 2), ("t", "pt", "g3", TEST)
)


def copy(one: int, first: str, other: int, second: str) -> tuple[int, int, SharedImage]:
    return one, other, SharedImage(first, second, 1.0, IDENTICAL)


def test_a_row_of_a_held_out_patient_name_or_photograph_does_not_train_in_that_fold() -> None:
    rows = [
        ("x", "p1", "", ""),  # the patient
        ("m2", "", "", ""),  # the name
        ("y", "", "", ""),  # the photograph, of the test part
        ("z", "", "", ""),  # nothing in common
    ]
    found = join_sources(OURS, [table_of(source_of(), rows)], [copy(0, "t", 1, "y")])
    trains = [found.may_train(0, fold).tolist() for fold in (0, 1, 2)]
    assert trains == [
        [True, True, False, True],
        [False, True, False, True],
        [True, False, False, True],
    ]
    assert found.bridged == 0


def test_a_number_is_one_patient_however_two_tables_write_it() -> None:
    """A column with blank cells has 12.0 where another table has 12."""
    folds = folds_of(("a", "12", "g0", 0), ("b", "13.0", "g1", 1))
    rows = [("x", "12.0", "", ""), ("y", "13", "", ""), ("z", "1.3", "", "")]
    found = join_sources(folds, [table_of(source_of(), rows)], [])
    assert found.may_train(0, 0).tolist() == [False, True, True]
    assert found.may_train(0, 1).tolist() == [True, False, True]


def test_joining_goes_on_through_patients_and_other_sources() -> None:
    """A copy of a held-out image is of that patient, and so are the patient's other images."""
    one = table_of(source_of("one"), [("x", "q", "", ""), ("y", "q", "", "")])
    two = table_of(source_of("two"), [("z", "", "", ""), ("free", "", "", "")])
    shared = [copy(0, "m1", 1, "x"), copy(1, "y", 2, "z")]
    found = join_sources(OURS, [one, two], shared)
    assert found.may_train(0, 1).tolist() == [False, False]
    assert found.may_train(1, 1).tolist() == [False, True]
    assert found.may_train(1, 0).all()


def test_what_a_source_tells_of_images_in_two_folds_is_counted() -> None:
    rows = [("x", "p0", "same", ""), ("y", "p1", "same", "")]
    found = join_sources(OURS, [table_of(source_of(), rows)], [])
    assert found.bridged == 1
    assert not found.may_train(0, 0).any()
    assert not found.may_train(0, 1).any()


def test_a_source_that_is_held_out_is_dealt_to_the_folds_by_whole_patients_and_labels() -> None:
    labels = ["melanoma" if n % 4 == 0 else "benign" for n in range(48)]
    rows = [(f"s{n}", f"q{n // 2}", "", label) for n, label in enumerate(labels)]
    rows += [("x", "p1", "", "benign"), ("y", "pt", "", "benign")]
    apart = table_of(source_of(held_out=True), rows)
    beside = table_of(source_of("two"), [("z", "q0", "", "benign"), ("free", "", "", "benign")])
    found = join_sources(OURS, [apart, beside], [], seed=3)
    fold = found.held_out_by(0)
    assert fold[48] == 1  # of the patient of fold 1
    assert fold[49] == -1  # the test part's: no fold trains it, none holds it out alone
    own, patients = fold[:48], [row[1] for row in rows[:48]]
    assert all(len({*own[np.array(patients) == one]}) == 1 for one in set(patients))
    melanoma = np.array(labels) == "melanoma"
    assert np.bincount(own[melanoma]).tolist() == [4, 4, 4]
    assert np.bincount(own).tolist() == [16, 16, 16]
    for number in range(3):
        trains = found.may_train(0, number)
        assert trains.tolist() == [f not in (number, -1) for f in fold]
        # What belongs to a held-out row trains nowhere else either.
        assert found.may_train(1, number).tolist() == [number != fold[0], True]
    assert found.held_out_by(1).tolist() == [fold[0], -1]
    again = join_sources(OURS, [apart, beside], [], seed=3)
    assert again.held_out_by(0).tolist() == fold.tolist()
    assert join_sources(OURS, [apart, beside], [], seed=4).touched != found.touched


def test_what_belongs_to_images_of_two_folds_is_held_out_by_neither() -> None:
    rows = [(f"s{n}", f"q{n}", "", "benign") for n in range(6)] + [("x", "p1", "", "benign")]
    source = table_of(source_of(held_out=True), rows)
    found = join_sources(OURS, [source], [copy(0, "m2", 1, "x")])
    assert found.held_out_by(0)[6] == -1
    assert [bool(found.may_train(0, fold)[6]) for fold in (0, 1, 2)] == [True, False, False]


def test_a_source_that_the_folds_cannot_share_is_refused() -> None:
    few = table_of(source_of(held_out=True), [("a", "", "", "melanoma"), ("b", "", "", "benign")])
    with pytest.raises(FoldError, match=r"3 folds need as many patients.*there are 2"):
        join_sources(OURS, [few], [])
    single = folds_of(("m0", "p0", "g0", 0), ("m1", "p1", "g1", -1))
    with pytest.raises(FoldError, match="source year: held_out needs two folds"):
        join_sources(single, [few], [])


def test_what_the_fold_file_always_trains_on_is_no_source_s_to_hold_out() -> None:
    ours = folds_of(
        *OURS.whole[["image_name", "patient_id", "group", "fold"]].itertuples(index=False),
        ("n", "pn", "g9", -1),
    )
    rows = [(f"s{n}", f"q{n}", "", "benign") for n in range(6)] + [("x", "pn", "", "benign")]
    rows += [("y", "both", "", "benign")]
    pairs = [copy(0, "n", 1, "y"), copy(0, "m1", 1, "y")]
    found = join_sources(ours, [table_of(source_of(held_out=True), rows)], pairs)
    assert sorted(found.held_out_by(0)[:6].tolist()) == [0, 0, 1, 1, 2, 2]
    assert found.held_out_by(0)[6:].tolist() == [-1, -1]
    # Of no held-out image: it may train in every fold. Of one, not in that fold.
    assert [found.may_train(0, fold)[6:].tolist() for fold in (0, 1)] == [
        [True, True],
        [False, False],
    ]
