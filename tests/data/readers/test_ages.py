"""Ages: years where a cell says them in any usual way, blank and shown where it does not."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from melanoma.data.readers.ages import read_ages, read_sexes


def years(cell: str) -> float:
    return float(read_ages(pd.Series([cell], dtype=str)).years[0])


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        *(("45", 45), ("45.0", 45), ("45,0", 45), ("45,5", 45.5), ("0", 0), ("120", 120)),
        *(("60 years", 60), ("60 y", 60), ("60yo", 60), ("060Y", 60), ("60 years old", 60)),
        *(("018M", 1.5), ("6 months", 0.5), ("AGE_30_TO_39", 34.5), ("30-39", 34.5)),
        *(("30_39", 34.5), ("30\N{EN DASH}39 yrs", 34.5), ("[30, 40)", 35), ("(30, 40]", 35)),
        *(("30s", 34.5), ("85+", 85), (">85", 85), ("\u2265 85", 85), ("85 and over", 85)),
        *(("AGE_85_PLUS", 85), ("<18", 9)),
    ],
)
def test_an_age_is_read(cell: str, expected: float) -> None:
    assert years(cell) == pytest.approx(expected)


@pytest.mark.parametrize(
    "cell", ["999", "-1", "121", "1980", "old", "inf", "1e2", "40-30", "1,234", "12 apples"]
)
def test_what_is_no_age_is_blank_and_shown(cell: str) -> None:
    found = read_ages(pd.Series(["50", cell, cell], dtype=str))
    assert math.isnan(found.years[1])
    assert found.warnings == [
        "2 ages left blank, for they are no age from 0 to 120 years: "
        f"row 2 (line 3): {cell!r}, row 3 (line 4): {cell!r}"
    ]


@pytest.mark.parametrize("cell", ["", "unknown", "NULL", "N/A"])
def test_a_cell_that_says_nothing_is_blank_without_a_word(cell: str) -> None:
    found = read_ages(pd.Series(["50", cell], dtype=str))
    assert math.isnan(found.years[1]) and found.warnings == []


def test_ranges_are_counted() -> None:
    found = read_ages(pd.Series(["30-39", "85+", "50"], dtype=str))
    assert found.warnings[0].startswith("2 ages are ranges")


def test_sexes_have_one_spelling() -> None:
    cells = pd.Series(["F", "FEMALE", "female", "M", "Male", "unknown", "", "other"])
    words, warnings = read_sexes(cells)
    assert words.tolist() == [*["female"] * 3, *["male"] * 2, "", "", "other"]
    assert warnings == []
    assert read_sexes(pd.Series(["m.", "Männlich", "mujer"])).words.tolist() == [
        *("male", "male", "female")
    ]


def test_sexes_that_are_not_read_are_counted_and_shown() -> None:
    words, (warning,) = read_sexes(pd.Series(["1", "female", "2", "", "1", "X"]))
    assert words.tolist() == ["1", "female", "2", "", "1", "X"]
    assert warning.startswith("3 sexes are neither female nor male as they are written")
    assert "row 1 (line 2): '1', row 3 (line 4): '2'" in warning
