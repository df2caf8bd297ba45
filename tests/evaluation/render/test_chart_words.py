"""The charts in another language: every phrase, and numbers as it writes them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from made_content import SEVEN, TWENTY_TWO, binary, external, many, undefined

from melanoma.evaluation.render import chart_words
from melanoma.evaluation.render.chart_words import FRENCH, Words
from melanoma.evaluation.render.charts import draw_charts


@pytest.mark.parametrize(
    "made",
    [binary, external, undefined, lambda: many(SEVEN, ("melanoma",)), lambda: many(TWENTY_TWO)],
)
def test_every_phrase_of_a_chart_is_known_in_french(
    made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Strict(dict[str, str]):
        def get(self, phrase: str, default: Any = None) -> Any:
            return self[phrase]

    monkeypatch.setitem(chart_words.LANGUAGES, "fr", Strict(FRENCH))
    english, french = draw_charts(made().content), draw_charts(made().content, Words("fr"))
    assert list(english) == list(french)
    for name, chart in french.items():
        marks = [re.findall(r' (?:points|r)="([^"]+)"', one) for one in (english[name], chart)]
        assert marks[0] == marks[1], "the language moves a curve"
        assert not re.search(r">[^<]*\d\.\d[^<]*<", chart), "a decimal point in French"


def test_french_has_the_same_values_in_every_phrase() -> None:
    for phrase, words in FRENCH.items():
        assert sorted(re.findall(r"{\w+}", phrase)) == sorted(re.findall(r"{\w+}", words)), phrase


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.865 (0.843 to 0.886)", "0,865 (0,843 à 0,886)"),
        ("<0.1 % to 99.5 %", "<0,1 % à 99,5 %"),
        ("12,345", "12\N{NARROW NO-BREAK SPACE}345"),
        ("undefined", "non défini"),
    ],
)
def test_a_number_stands_as_french_writes_it(text: str, expected: str) -> None:
    assert Words("fr").number(text) == expected
    assert Words().number(text) == text


def test_what_a_run_named_is_left_as_it_is() -> None:
    assert Words("fr")("{odd} column") == "{odd} column"
    assert Words("fr").at("sensitivity 0.95") == "sensibilité 95 %"
    assert Words("fr").at("youden") == "youden"
