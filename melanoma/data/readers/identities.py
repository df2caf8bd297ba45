"""Who and what a table's rows are of: its columns of patients and of lesions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal

import pandas as pd

from melanoma.data.groups import join_groups, plain_number
from melanoma.data.placeholders import blank_placeholders

PATIENT, LESION = "patient_id", "lesion_id"
IDENTITIES = (PATIENT, LESION)
# Headers in lower case, of letters and figures alone. A column `lesion` may hold diagnoses.
_PLAIN_ID = "id|ids|no|nr|number|identifier|key"
_ID = f"{_PLAIN_ID}|uid|uuid|guid|hash|pseudonym"
_WHO = "(patient|subject|person|participant)"
_HIDDEN = "(isic|hashed|deidentified|(anon|anonym|pseudo|pseudonym)(ous|i[sz]ed)?)?"
_KINDS = {
    PATIENT: re.compile(f"{_HIDDEN}{_WHO}s?(pseudo)?({_ID}|num|code)?|patid|mrn"),
    # Not `lesion code`, which may be a diagnosis, nor `lesion num`, which may count a patient's.
    LESION: re.compile(f"{_HIDDEN}lesion({_ID})"),
}
# Headers whose ids go before those of the others: by them two tables know one patient.
_PLAIN = re.compile(f"{_WHO}({_PLAIN_ID})?|lesion({_PLAIN_ID})")
# A header that stands twice has a number behind it the second time.
_REPEATED = re.compile(r"\.\d+$")
# Of a column that somebody named, a word is enough.
_WORDS = {PATIENT: re.compile("patient|subject|person|participant"), LESION: re.compile("lesion")}


def identity_columns(
    header: Iterable[str], named: Sequence[str], *, named_are: Literal["patient", "lesion"]
) -> dict[str, list[str]]:
    """`patient_id` and `lesion_id` -> the columns that hold them.

    They are those that are `named` and those whose headers say so, plain ones (patient_id) before
    anon_patient_id or MRN: what is there is never left out of a split. A named column whose header
    says nothing is what `named_are` says.
    """
    columns: dict[str, list[str]] = {PATIENT: [], LESION: []}
    for name in dict.fromkeys([*named, *sorted(header, key=lambda one: not _is_plain(one))]):
        plain = re.sub(r"[\W_]", "", _REPEATED.sub("", name.lower()))
        kinds = [kind for kind, words in _KINDS.items() if words.fullmatch(plain)]
        if name in named:
            kinds += [kind for kind, words in _WORDS.items() if words.search(plain)]
            kinds.append(f"{named_are}_id")
        if kinds:
            columns[kinds[0]].append(name)
    return columns


def _is_plain(name: str) -> bool:
    return _PLAIN.fullmatch(re.sub(r"[\W_]", "", name.lower())) is not None


def read_identity(table: pd.DataFrame, columns: Sequence[str]) -> pd.Series:
    """One identity a row, blank where none is known.

    Where several columns hold it, each partly blank, rows that share a value in any of them have
    one identity: the first column's value, or COLUMN:VALUE of another. Columns without any value
    hold nothing: another table, which lacks them, calls the same patient by VALUE alone.
    """
    known = {
        name: one_number(blank_placeholders(table[name]))
        for name in dict.fromkeys(columns)
        if name in table
    }
    held = {name: column for name, column in known.items() if (column != "").any()}
    if len(held) < 2:
        return next(iter(held.values()), pd.Series("", table.index))
    groups = join_groups([column.tolist() for column in held.values()])
    names: dict[int, str] = {}
    for place, (name, column) in enumerate(held.items()):
        for group, value in zip(groups, column.tolist(), strict=True):
            if value:
                names.setdefault(group, value if place == 0 else f"{name}:{value}")
    return pd.Series([names.get(group, "") for group in groups], table.index)


def one_number(column: pd.Series) -> pd.Series:
    """The column with 12.0 as the 12 that stands in another row: tables put below one another."""
    values = set(column)
    plain = {v: plain_number(v) for v in values}
    both = {v: number for v, number in plain.items() if v != number and number in values}
    return column.map(lambda v: both.get(v, v)) if both else column


def count_known(identity: pd.Series, what: str) -> str:
    """How many patients (`what`) there are, and how many rows have none, as words."""
    known = identity[identity != ""]
    if known.empty:
        return f"{what}s not known"
    without = len(identity) - len(known)
    count = f"{known.nunique():,} {what}s"
    return f"{count} ({without:,} images without)" if without else count


def describe_large_groups(frame: pd.DataFrame, groups: Sequence[int]) -> list[str]:
    """A sentence for each group of more than a tenth of the rows (and of four or more)."""
    numbers = pd.Series(groups, frame.index)
    sizes = numbers.value_counts()
    sentences = []
    for group, size in sizes[(sizes > len(frame) / 10) & (sizes > 3)].items():
        rows = frame[numbers == group]
        counts = {column: rows[column][rows[column] != ""].value_counts() for column in IDENTITIES}
        column = max(counts, key=lambda name: counts[name].max() if len(counts[name]) else 0)
        what = "joined by what they show"
        if len(counts[column]):
            value, times = str(counts[column].index[0]), int(counts[column].iloc[0])
            what = f"{column} {value!r} stands in {times:,} of them"
        sentences.append(
            f"one group holds {size:,} of {len(frame):,} images ({what}); all of them stay in one "
            "fold: where that is no patient or lesion, blank it in the table"
        )
    return sentences
