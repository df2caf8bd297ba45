"""Subgroups: each number is scikit-learn's on the subgroup's rows, and small ones give none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from melanoma.errors import DataError
from melanoma.evaluation.measure.subgroups import split_column, subgroups
from melanoma.evaluation.report.schema_parts import Measured, SubgroupLine

THRESHOLD = 0.4


def table(count: int = 900, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    target = (rng.random(count) < 0.3).astype(np.int64)
    score = np.clip(0.3 + 0.2 * target + rng.normal(0, 0.2, count), 0.001, 0.999)
    return pd.DataFrame(
        {
            "age": rng.choice([25.0, 35, 45, 55, 65, 75, 85, np.nan], count),
            "sex": rng.choice(["male", "female", ""], count),
            "site": rng.choice(["torso", "arm"], count),
            "camera": rng.normal(50, 20, count).astype(str),
            "target": target,
            "probability": score,
            "crossfit": np.clip(score + rng.normal(0, 0.02, count), 0, 1),
            "group": rng.integers(0, count // 3, count),
        }
    )


def reported(frame: pd.DataFrame, *columns: str, **options: Any) -> list[SubgroupLine]:
    return subgroups(
        frame,
        frame["target"].to_numpy(),
        frame["probability"].to_numpy(),
        THRESHOLD,
        frame["group"].to_numpy(),
        crossfit=frame["crossfit"].to_numpy(),
        **{"resamples": 200, "seed": 0, "columns": columns or ("age", "sex", "site"), **options},
    )


def test_every_number_is_scikit_learn_s_on_the_subgroup_s_rows() -> None:
    frame = table()
    lines = {line.value: line for line in reported(frame, "sex")}
    assert set(lines) == {"male", "female", "unknown"}
    assert list(lines)[-1] == "unknown"
    for value, line in lines.items():
        own = frame[frame["sex"] == value.replace("unknown", "")]
        flagged = (own["probability"] >= THRESHOLD).astype(int)
        expected = {
            "auroc": sk.roc_auc_score(own["target"], own["probability"]),
            "sensitivity": sk.recall_score(own["target"], flagged),
            "specificity": sk.recall_score(own["target"], flagged, pos_label=0),
            "calibration_gap": own["target"].mean() - own["crossfit"].mean(),
        }
        for name, number in expected.items():
            found = getattr(line, name)
            assert found.value == pytest.approx(number, abs=1e-12)
            assert found.low < number < found.high
        assert (line.images, line.positives) == (len(own), own["target"].sum())
        assert line.mean_predicted == pytest.approx(own["crossfit"].mean())
        assert line.observed == pytest.approx(own["target"].mean())
        assert line.note == ""


def test_every_image_is_in_one_part_of_each_column() -> None:
    frame = table()
    frame["site"] = [f"s{row % 30}" for row in range(len(frame))]
    for column in ("age", "sex", "site", "camera"):
        lines = reported(frame, column)
        assert sum(line.images for line in lines) == len(frame)
        assert sum(line.positives for line in lines) == frame["target"].sum()
        assert len(lines) <= 13


def test_ages_come_in_decades_with_open_ends_and_the_unknown_last() -> None:
    ages = pd.Series([0.0, 29, 29.5, 30, 39.9, 40, 79, 80, 95, np.nan])
    found = {name: np.flatnonzero(rows).tolist() for name, rows in split_column(ages, ages=True)}
    assert found == {
        "under 30": [0, 1, 2],
        "30 to 39": [3, 4],
        "40 to 49": [5],
        "70 to 79": [6],
        "80 and over": [7, 8],
        "unknown": [9],
    }
    as_text = split_column(pd.Series(["25", "old", ""]), ages=True)
    assert [(name, rows.tolist()) for name, rows in as_text] == [
        ("under 30", [True, False, False]),
        ("unknown", [False, True, True]),
    ]


def test_numbers_come_in_quartiles_named_by_their_ends() -> None:
    numbers = pd.Series([str(number) for number in range(100, 1100, 10)] + [""])
    found = {name: int(rows.sum()) for name, rows in split_column(numbers)}
    assert found == {
        "100 to 340": 25,
        "350 to 590": 25,
        "600 to 840": 25,
        "850 to 1,090": 25,
        "unknown": 1,
    }
    tied = pd.Series([1.0] * 80 + list(range(2, 22)))
    assert [name for name, _ in split_column(tied)] == ["1 to 1", "2 to 21"]


def test_few_numbers_are_values_of_their_own_in_their_order() -> None:
    found = [(name, int(rows.sum())) for name, rows in split_column(pd.Series([10, 2, 2, 1]))]
    assert found == [("1", 1), ("2", 2), ("10", 1)]


def test_the_rarest_values_beyond_twelve_are_joined() -> None:
    values = pd.Series([f"v{k:02}" for k in range(15) for _ in range(30 - k)])
    found = {name: int(rows.sum()) for name, rows in split_column(values)}
    assert list(found)[:2] == ["v00", "v01"]
    assert len(found) == 12
    assert found["other (4 values)"] == 19 + 18 + 17 + 16
    twelve = pd.Series([f"v{k}" for k in range(12)])
    assert len(dict(split_column(twelve))) == 12


def test_unknown_in_words_and_an_empty_cell_are_one_part() -> None:
    found = {name: int(rows.sum()) for name, rows in split_column(pd.Series(["unknown", "", "x"]))}
    assert found == {"x": 1, "unknown": 2}


def test_a_group_too_small_gives_no_number_and_says_so() -> None:
    frame = table(200)
    frame["site"] = ["hand"] * 19 + ["foot"] * 20 + ["torso"] * 161
    frame.loc[: 19 + 4, "target"] = 1
    frame.loc[24:38, "target"] = 0
    lines = {line.value: line for line in reported(frame, "site")}
    hand = lines["hand"]
    assert hand.note == "too small: 19 images, 20 are needed"
    nothing = Measured(value=None)
    assert hand.auroc == hand.sensitivity == hand.specificity == hand.calibration_gap == nothing
    assert hand.mean_predicted is hand.observed is None
    assert lines["foot"].note == ""  # 20 images, 5 melanomas: just enough
    assert lines["foot"].auroc.value is not None


def test_too_few_of_one_class_leave_what_the_other_class_allows() -> None:
    frame = table(300)
    frame["diagnosis"] = np.where(frame["target"] == 1, "melanoma", "nevus")
    frame.loc[np.flatnonzero(frame["target"] == 1)[:4], "diagnosis"] = "nevus"
    lines = {line.value: line for line in reported(frame, "diagnosis")}
    melanoma, nevus = lines["melanoma"], lines["nevus"]
    assert melanoma.auroc.value is melanoma.specificity.value is None
    assert melanoma.sensitivity.value is not None
    assert "0 without melanoma (5 are needed for a specificity)" in melanoma.note
    assert nevus.auroc.value is nevus.sensitivity.value is None
    assert nevus.specificity.value is not None
    assert nevus.note == "too few for an AUROC: 4 melanomas (5 are needed for a sensitivity)"


def test_a_group_that_the_model_fails_is_found() -> None:
    frame = table(2000)
    old = frame["age"] == 85
    frame.loc[old, "probability"] = np.random.default_rng(1).random(old.sum())
    lines = {line.value: line for line in reported(frame, "age")}
    assert lines["80 and over"].auroc.high < min(
        line.auroc.low for value, line in lines.items() if value != "80 and over"
    )


def test_an_unknown_column_is_refused_with_those_there_are() -> None:
    with pytest.raises(DataError, match="no column camara to report by; it has age, sex, site"):
        reported(table(), "age", "camara")


def test_a_column_named_twice_is_reported_once() -> None:
    assert reported(table(), "sex", "sex") == reported(table(), "sex")


def test_patients_are_drawn_and_not_images() -> None:
    frame = table()
    wide = frame.assign(group=np.arange(len(frame)) % 12)
    narrow = frame.assign(group=np.arange(len(frame)))
    widths = [
        line.auroc.high - line.auroc.low
        for line in (reported(wide, "site")[0], reported(narrow, "site")[0])
    ]
    assert widths[0] != pytest.approx(widths[1], rel=0.02)
    assert reported(frame, seed=1) == reported(frame, seed=1) != reported(frame, seed=2)
