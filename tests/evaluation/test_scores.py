"""A ScoreTable holds each image once, with finite logits, and survives its file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from melanoma.errors import DataError
from melanoma.evaluation.scores import ScoreTable, concat_scores, load_scores, save_scores
from melanoma.recipe import BINARY_CLASSES

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
