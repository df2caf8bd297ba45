"""Placeholders: what stands for "not known" is blank in every column, and nothing else is."""

from __future__ import annotations

import pandas as pd
import pytest

from melanoma.data.placeholders import blank_placeholders, known_id

BLANK = ["-1", "-1.0", "-9", "-99", "-999", "unknown", "UNKNOWN", "Unknown ", "NULL", "null"]
BLANK += ["None", "N/A", "n/a", "<NA>", "#N/A", "\\N", "nan", "NaN", "NA", "", " ", "?", "-", "--"]
BLANK += ["(unknown)", "[null]", "Not Available", "missing", "undefined", "ANONYMOUS", "#REF!"]
BLANK += ["(blank)", "de-identified", "No ID", "unbekannt"]


@pytest.mark.parametrize("word", BLANK)
def test_a_placeholder_is_blank_and_its_neighbors_stay(word: str) -> None:
    column = pd.Series(["P1", word, "0", "1", "nonesuch", "unknown person 3", "NA12878"])
    assert blank_placeholders(column).tolist() == ["P1", "", *column.tolist()[2:]]


def test_a_code_is_a_number_where_other_numbers_are_negative_too() -> None:
    assert blank_placeholders(pd.Series(["-1", "2", "-1"])).tolist() == ["", "2", ""]
    scores = ["-1", "-0.5", "2", "unknown"]
    assert blank_placeholders(pd.Series(scores)).tolist() == ["-1", "-0.5", "2", ""]


@pytest.mark.parametrize(
    ("text", "known"), [("-1", ""), ("Unknown", ""), (" L7 ", "L7"), ("0", "0")]
)
def test_an_id_that_stands_alone(text: str, known: str) -> None:
    assert known_id(text) == known
