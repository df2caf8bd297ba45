"""A ScoreTable holds each image once, with finite logits, and survives its file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from melanoma.errors import DataError
from melanoma.evaluation.score_table import (
    ScoreTable,
    concat_scores,
    load_scores,
    make_scores,
    save_scores,
)
from melanoma.recipe.sections import BINARY_CLASSES

NAMES = ["a", "b", "c", "d"]


def _table(names: list[str], *, fold: int = 0, **columns: Any) -> ScoreTable:
    rows = len(names)
    frame = pd.DataFrame(
        {
            "image_name": names,
            "patient_id": [f"p{n}" for n in names],
            "group": [f"g{n}" for n in names],
            "label": ["benign"] * rows,
            "target": [0] * rows,
            "fold": [fold] * rows,
            "logit": [float(ord(n[0])) for n in names],
            "logit_best": [1.0] * rows,
            "logit_last": [2.0] * rows,
        }
    )
    return ScoreTable(frame.assign(**columns), BINARY_CLASSES)


def test_folds_are_joined_in_the_order_of_the_fold_file() -> None:
    joined = concat_scores([_table(["d", "b"]), _table(["c", "a"], fold=1)], NAMES)
    assert joined.frame["image_name"].tolist() == NAMES
    assert joined.frame["fold"].tolist() == [1, 0, 1, 0]
    assert joined.logits().tolist() == [97.0, 98.0, 99.0, 100.0]
    assert len(joined) == 4


@pytest.mark.parametrize(
    ("tables", "reason"),
    [
        ([_table(["a", "b"]), _table(["c"], fold=1)], "1 images without an out-of-fold score: d"),
        ([_table(["a", "b"]), _table(["b", "c", "d"], fold=1)], "1 images scored twice: b"),
        (
            [_table(["a", "b"]), _table(["c", "d", "e"], fold=1)],
            "1 images scored but not in the fold file: e",
        ),
        ([_table(["a"])], "3 images without an out-of-fold score: b, c, d"),
    ],
)
def test_every_image_is_scored_exactly_once(tables: list[ScoreTable], reason: str) -> None:
    with pytest.raises(DataError) as refusal:
        concat_scores(tables, NAMES)
    assert str(refusal.value) == reason


@pytest.mark.parametrize("column", ["logit", "logit_best", "logit_last"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_logit_that_is_not_finite_is_refused(column: str, value: float) -> None:
    with pytest.raises(DataError, match="not finite"):
        concat_scores([_table(NAMES, **{column: [0.0, value, 0.0, 0.0]})], NAMES)


def test_groups_are_numbered_without_gaps_whatever_their_names() -> None:
    table = _table(NAMES, group=["g7", "g2", "g7", "x"])
    assert table.groups.tolist() == [0, 1, 0, 2]


def test_a_file_keeps_every_digit_of_a_float32(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    names = [f"n{i}" for i in range(2000)]
    logits = (rng.normal(size=2000) * 10.0 ** rng.integers(-6, 4, 2000)).astype(np.float32)
    table = _table(names, logit=logits.astype(np.float64), target=[0, 1] * 1000)
    save_scores(table, tmp_path / "oof.csv")
    again = load_scores(tmp_path / "oof.csv", BINARY_CLASSES)
    assert (again.logits().astype(np.float32) == logits).all()
    assert again.target.tolist() == [0, 1] * 1000
    assert again.frame.drop(columns="logit").equals(table.frame.drop(columns="logit"))


def test_names_that_look_like_numbers_stay_text(tmp_path: Path) -> None:
    table = _table(["007", "1e5", "True"], patient_id=["", "01", "0x1"])
    save_scores(table, tmp_path / "oof.csv")
    again = load_scores(tmp_path / "oof.csv", BINARY_CLASSES).frame
    assert again["image_name"].tolist() == ["007", "1e5", "True"]
    assert again["patient_id"].tolist() == ["", "01", "0x1"]


def test_a_file_without_a_column_or_with_text_for_a_logit_is_refused(tmp_path: Path) -> None:
    frame = _table(NAMES).frame
    frame.drop(columns="logit_last").to_csv(tmp_path / "short.csv", index=False)
    with pytest.raises(DataError, match="logit_last"):
        load_scores(tmp_path / "short.csv", BINARY_CLASSES)
    frame.assign(logit="high").to_csv(tmp_path / "text.csv", index=False)
    with pytest.raises(DataError, match="no number"):
        load_scores(tmp_path / "text.csv", BINARY_CLASSES)


# Several classes.

THREE = ("nevus", "melanoma", "vascular lesion")


def _classes(names: list[str], *, fold: int = 0, seed: int = 0) -> ScoreTable:
    rng = np.random.default_rng(seed)
    target = rng.integers(0, 3, len(names))
    held_out = pd.DataFrame(
        {
            "image_name": names,
            "patient_id": "",
            "group": names,
            "site": "arm",
            "label": np.array(THREE)[target],
            "target": target,
            "fold": fold,
        }
    )
    logits = {
        name: rng.normal(size=(len(names), 3)).astype(np.float32).astype(np.float64)
        for name in ("logit", "logit_best", "logit_last")
    }
    return make_scores(held_out, THREE, logits)


def test_several_classes_have_a_column_each_in_the_recipe_s_order(tmp_path: Path) -> None:
    table = _classes(NAMES)
    assert list(table.frame) == [
        *("image_name", "patient_id", "group", "label", "target", "fold"),
        *("logit_nevus", "logit_melanoma", "logit_vascular lesion"),
        *("logit_best_nevus", "logit_best_melanoma", "logit_best_vascular lesion"),
        *("logit_last_nevus", "logit_last_melanoma", "logit_last_vascular lesion"),
    ]
    assert not table.is_binary
    assert table.logits("logit_last").shape == (4, 3)
    assert table.logits()[:, 1].tolist() == table.frame["logit_melanoma"].tolist()
    save_scores(table, tmp_path / "oof.csv")
    again = load_scores(tmp_path / "oof.csv", THREE)
    assert again.classes == THREE
    for column in ("logit", "logit_best", "logit_last"):
        assert (again.logits(column) == table.logits(column)).all() or np.allclose(
            again.logits(column), table.logits(column), rtol=1e-8
        )
    assert again.frame["label"].tolist() == table.frame["label"].tolist()


def test_two_classes_may_have_one_output_or_two(tmp_path: Path) -> None:
    two = make_scores(
        _table(NAMES).frame,
        BINARY_CLASSES,
        dict.fromkeys(("logit", "logit_best", "logit_last"), np.zeros((4, 2))),
    )
    for table, shape in ((_table(NAMES), (4,)), (two, (4, 2))):
        save_scores(table, tmp_path / "oof.csv")
        assert load_scores(tmp_path / "oof.csv", BINARY_CLASSES).logits().shape == shape


def test_folds_of_several_classes_are_joined_in_order() -> None:
    first, second = _classes(["d", "b"]), _classes(["c", "a"], fold=1, seed=1)
    joined = concat_scores([first, second], NAMES)
    assert joined.frame["image_name"].tolist() == NAMES
    assert joined.classes == THREE
    assert joined.logits()[0].tolist() == second.logits()[1].tolist()
    bad = first.frame.assign(**{"logit_best_vascular lesion": [0.0, np.inf]})
    with pytest.raises(DataError, match="not finite"):
        concat_scores([ScoreTable(bad, THREE), second], NAMES)
    other = ScoreTable(second.frame, THREE[::-1])
    with pytest.raises(DataError, match="different classes"):
        concat_scores([first, other], NAMES)


def test_scores_of_other_classes_are_refused_by_the_column_they_lack(tmp_path: Path) -> None:
    save_scores(_classes(NAMES), tmp_path / "oof.csv")
    with pytest.raises(DataError, match="lacks logit_scar"):
        load_scores(tmp_path / "oof.csv", (*THREE[:2], "scar"))
    save_scores(_table(NAMES, target=[0, 1, 2, 0]), tmp_path / "oof.csv")
    with pytest.raises(DataError, match="a target that is none of benign, melanoma"):
        load_scores(tmp_path / "oof.csv", BINARY_CLASSES)


def test_a_file_of_the_first_version_has_its_labels_filled_in(tmp_path: Path) -> None:
    frame = _table(NAMES, target=[0, 1, 1, 0]).frame.drop(columns="label")
    frame.to_csv(tmp_path / "oof.csv", index=False)
    again = load_scores(tmp_path / "oof.csv", BINARY_CLASSES).frame
    assert again["label"].tolist() == ["benign", "melanoma", "melanoma", "benign"]
