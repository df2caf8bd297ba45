"""The parts that a data set brings along: taken as they are, or one sentence of what is absent."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from fold_tables import (
    held,
    lesions,
    parted,
)

from melanoma.data.folds import (
    make_folds,
)
from melanoma.data.own_parts import describe_own_parts, has_own_split, own_test, require_own_classes
from melanoma.data.readers.table import LesionTable
from melanoma.errors import FoldError


def test_the_data_s_own_test_part_is_taken_as_it_is() -> None:
    part = ["test" if row % 5 == 0 else "train" for row in range(50)]
    folds = make_folds(parted(part), held(k=2, holdout="folders"))
    assert folds.test["image_name"].tolist() == [f"i{row}" for row in range(0, 50, 5)]
    assert "part" not in folds.whole
    # And is one image among others where nobody asks for it.
    assert make_folds(parted(part), held(k=2)).test.empty


def test_folders_that_are_not_there_are_no_test_part() -> None:
    for table in (lesions([0, 1] * 10), parted(["train"] * 20)):
        with pytest.raises(FoldError, match=r"folds\.holdout: .* has no test part of its own"):
            make_folds(table, held(k=2, holdout="folders"))


def test_a_supplied_part_is_kept_apart_where_there_is_one() -> None:
    part = ["test" if row >= 40 else "train" for row in range(50)]
    apart = make_folds(parted(part), held(k=2, holdout="supplied"))
    same = make_folds(parted(part), held(k=2, holdout="folders"))
    pd.testing.assert_frame_equal(apart.whole, same.whole)
    for table in (lesions([0, 1] * 10), parted(["train"] * 20)):
        assert make_folds(table, held(k=2, holdout="supplied")).test.empty


OWN = ["train"] * 8 + ["valid"] * 4 + ["test"] * 2


def test_a_validation_folder_is_a_split_unless_it_is_pooled() -> None:
    table = parted(OWN)
    assert has_own_split(table, held(k=5))
    assert not has_own_split(table, held(k=5, own_validation="pooled"))
    assert not has_own_split(parted(["train", "test"] * 4), held(k=5))
    assert not has_own_split(lesions([0, 1] * 4), held(k=5))
    folds = make_folds(table, held(k=5))
    held_out = folds.frame["image_name"].to_numpy()[folds.rows(0)[1]].tolist()
    assert held_out == [f"i{row}" for row in range(8, 12)]
    assert folds.test["image_name"].tolist() == ["i12", "i13"]
    assert folds.folds == [0]


@pytest.mark.parametrize("name", ["train", "valid"])
def test_a_part_of_its_own_without_a_class_is_refused_by_the_class_s_name(name: str) -> None:
    table = parted(OWN)
    part, target = table.frame["part"], table.frame["target"]
    require_own_classes(part, table)
    frame = table.frame.assign(target=target.mask(part == name, 0))
    with pytest.raises(FoldError, match=f"its own {name} part has no image of melanoma; --set"):
        require_own_classes(part, LesionTable(frame.assign(label=table.frame["label"]), Path("d")))


def test_the_rows_of_the_test_part_are_the_data_s_own() -> None:
    part = pd.Series(OWN)
    assert own_test(part, parted(OWN)).tolist() == [False] * 12 + [True] * 2
    with pytest.raises(FoldError, match=r"no test part of its own.* a share such as 0\.2"):
        own_test(part.replace("test", "train"), parted(OWN))


def test_what_becomes_of_the_parts_is_said_with_their_counts() -> None:
    [said] = describe_own_parts(parted(OWN), held(k=5))
    assert "8 images to train, 4 held out, 2 in the test part" in said
    assert "folds.own_validation=pooled" in said
    [said] = describe_own_parts(parted(["train"] * 8 + ["test"] * 3), held(k=5))
    assert "own test part (3 images) is among the others" in said
    for rules in (held(k=5, holdout="folders"), held(k=5, holdout="supplied")):
        assert describe_own_parts(parted(["train"] * 8 + ["test"] * 3), rules) == []
    assert describe_own_parts(lesions([0, 1]), held(k=5)) == []
