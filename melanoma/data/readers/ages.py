"""Ages and sexes: from a table's cells to years and to male or female."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

import pandas as pd

from melanoma.data.csv_tables import some_rows
from melanoma.data.placeholders import is_placeholder

OLDEST = 120  # years; nobody's age is above it, and 999 or a year of birth is
_YEARS_IN = {"y": 1.0, "a": 1.0, "j": 1.0, "m": 1 / 12, "w": 7 / 365.25, "d": 1 / 365.25}
_NUMBER = r"(\d{1,3}(?:\.\d+|,\d{1,2})?)"
# `060Y` and `018M` are DICOM's; y/o, yo and yrs are people's.
_UNIT = (
    r"(?:\s*(y|m|w|d|years?|yrs?|yo|y/o|y\.o\.|years? old|months?|mos?|weeks?|days?|jahre?|ans?))?"
)
_EXACT = re.compile(_NUMBER + _UNIT)
_RANGE = re.compile(
    rf"{_NUMBER}(?:\s*(?:-|\N{{EN DASH}}|\N{{EM DASH}}|to|\.\.)\s*| ){_NUMBER}{_UNIT}"
)
_INTERVAL = re.compile(rf"[\[(]\s*{_NUMBER}\s*[,;-]\s*{_NUMBER}\s*[\])]")
_DECADE = re.compile(r"(\d0)'?s")
_MORE = re.compile(
    rf"(?:>=?|\N{{GREATER-THAN OR EQUAL TO}}|over|above)\s*{_NUMBER}{_UNIT}"
    rf"|{_NUMBER}{_UNIT}\s*(?:\+|plus|(?:and|or)\s+(?:over|older|above|more))"
)
_LESS = re.compile(rf"(?:<=?|\N{{LESS-THAN OR EQUAL TO}}|under|below)\s*{_NUMBER}{_UNIT}")
_FEMALE = "f,female,woman,w,girl,weiblich,frau,femme,féminin,femenino,mujer,femmina,vrouw"
_MALE = "m,male,man,boy,männlich,mann,homme,masculin,masculino,hombre,maschio"
_SEXES = {
    **dict.fromkeys(_FEMALE.split(","), "female"),
    **dict.fromkeys(_MALE.split(","), "male"),
}
# Neither of the two, and meant so.
_OTHER_SEXES = {"other", "x", "d", "divers", "diverse", "intersex", "nonbinary", "non-binary"}


class Ages(NamedTuple):
    """Years (float, NaN where there is none), and what was made of cells that are no number."""

    years: pd.Series
    warnings: list[str]


class Sexes(NamedTuple):
    """A word a row, blank where nothing is known, and what could not be read."""

    words: pd.Series
    warnings: list[str]


class _Age(NamedTuple):
    years: float
    exact: bool


def read_ages(cells: pd.Series) -> Ages:
    """Years from 0 to 120 out of numbers, texts (`60 years`, `060Y`, `45,0`), ranges
    (`AGE_30_TO_39`, `[30, 40)`: their middle) and open ends (`85+`: the bound).

    Cells that hold something else are counted and shown.
    """
    age_of = {cell: _read(cell) for cell in cells.unique()}
    years = cells.map({cell: age.years if age else math.nan for cell, age in age_of.items()})
    unread = cells.map({c: age is None and not is_placeholder(c) for c, age in age_of.items()})
    rough = cells.map({c: age is not None and not age.exact for c, age in age_of.items()})
    warnings = []
    if rough.any():
        warnings.append(
            f"{int(rough.sum()):,} ages are ranges, taken at their middle, or open, taken at their "
            f"bound: {some_rows(rough, cells)}"
        )
    if unread.any():
        warnings.append(
            f"{int(unread.sum()):,} ages left blank, for they are no age from 0 to {OLDEST} years: "
            f"{some_rows(unread, cells)}"
        )
    return Ages(years.astype(float), warnings)


def read_sexes(cells: pd.Series) -> Sexes:
    """`male` and `female` for their spellings (F, FEMALE, M), blank for what says that it is not
    known; any other text as it is.

    Cells that name no sex, such as a code 1, are counted and shown.
    """
    plain = {cell: cell.strip().rstrip(".").lower() for cell in cells.unique()}
    meanings = {
        cell: "" if is_placeholder(cell) else _SEXES.get(word, cell) for cell, word in plain.items()
    }
    words = cells.map(meanings)
    named = {*_SEXES.values(), *_OTHER_SEXES, ""}
    unread = words.map({word: word.lower() not in named for word in words.unique()}).astype(bool)
    warnings = []
    if unread.any():
        warnings.append(
            f"{int(unread.sum()):,} sexes are neither female nor male as they are written, and "
            f"stand as they are: {some_rows(unread, cells)}"
        )
    return Sexes(words, warnings)


def _read(cell: str) -> _Age | None:
    text = re.sub(r"^age[_\s]*", "", re.sub(r"[\s_]+", " ", cell.strip().lower()))
    age = _parse(text)
    return age if age is not None and 0 <= age.years <= OLDEST else None


def _parse(text: str) -> _Age | None:
    if match := _EXACT.fullmatch(text):
        return _Age(_years(match[1], match[2]), True)
    if match := _RANGE.fullmatch(text):
        return _middle(_years(match[1], match[3]), _years(match[2], match[3]))
    if match := _INTERVAL.fullmatch(text):
        return _middle(_years(match[1]), _years(match[2]))
    if match := _DECADE.fullmatch(text):
        return _middle(float(match[1]), float(match[1]) + 9)
    if match := _MORE.fullmatch(text):
        return _Age(_years(match[1] or match[3], match[2] or match[4]), False)
    if match := _LESS.fullmatch(text):
        return _middle(0.0, _years(match[1], match[2]))
    return None


def _middle(low: float, high: float) -> _Age | None:
    return _Age((low + high) / 2, False) if low <= high else None


def _years(number: str, unit: str | None = None) -> float:
    return float(number.replace(",", ".")) * _YEARS_IN[(unit or "y")[0]]
