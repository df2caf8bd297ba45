"""Rows of a table that are no longer what a fold file has of them."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np
import pandas as pd

from melanoma.data.fold_record import SOURCE_COLUMNS, FoldRecord
from melanoma.data.folds import NEVER, TEST, FoldTable
from melanoma.data.groups import plain_number
from melanoma.data.images import FileFacts
from melanoma.data.own_parts import has_own_split
from melanoma.data.readers.ages import read_sexes
from melanoma.data.readers.identities import IDENTITIES
from melanoma.data.readers.table import COLUMNS, LesionTable
from melanoma.recipe.sections import Folds
from melanoma.types import Flags

_SHOWN = 5
_OURS = {*COLUMNS, *FileFacts._fields, "group", "fold", "part"}


class RowChanges(NamedTuple):
    """What differs, a sentence a row, labels first; `kinds` counts each kind of difference."""

    rows: list[str]
    kinds: Counter[str]

    def __str__(self) -> str:
        more = f" and {len(self.rows) - _SHOWN:,} more" if len(self.rows) > _SHOWN else ""
        counts = ", ".join(f"{kind} {count:,}" for kind, count in self.kinds.items())
        return f"{len(self.rows):,} rows ({counts}): {'; '.join(self.rows[:_SHOWN])}{more}"


def in_common(folds: FoldTable, table: LesionTable) -> int:
    """How many images of the fold file the table names."""
    return int(folds.whole["image_name"].isin(table.names).sum())


def changed_rows(folds: FoldTable, table: LesionTable, record: FoldRecord | None) -> RowChanges:
    """The rows of the two that differ.

    Without a record the fold file may be another program's: it may have fewer images, name fewer
    patients, and call them otherwise, as long as the same images are of one patient. With one, it
    may know no patient at all, or have 12 and 12.0 for one, where none of these is in two folds.
    """
    ours = folds.whole.drop_duplicates("image_name").set_index("image_name")
    theirs = table.frame.drop_duplicates("image_name").set_index("image_name")
    names = ours.index.intersection(theirs.index, sort=False)
    ours, theirs = ours.loc[names], theirs.loc[names]
    changes: dict[str, list[str]] = {}
    kinds: Counter[str] = Counter()
    for column in _compared(ours, theirs, record):
        then, now = ours[column], theirs[column]
        if column in IDENTITIES and record is None:
            differ = _otherwise_grouped(then, now)
        elif column in IDENTITIES:
            differ = _other_identity(then, now, ours["fold"])
        else:
            differ = _otherwise(column, then, now)
        rows = zip(names[differ], then[differ], now[differ], strict=True)
        for name, old, new in rows:
            changes.setdefault(str(name), []).append(f"{column} {_cell(old)} -> {_cell(new)}")
            kinds[column] += 1
    sentences = [f"{name}: {', '.join(lines)}" for name, lines in changes.items()]
    if record is not None:
        extra = table.frame[table.frame["source"] != ""] if _may_lack(record) else table.frame
        added = set(extra["image_name"]) - set(folds.whole["image_name"]) - set(record.skipped)
        removed = set(folds.whole["image_name"]) - set(names)
        sentences += [f"{name}: only in the table" for name in sorted(added)]
        sentences += [f"{name}: no longer in the table" for name in sorted(removed)]
        counts = {"added": len(added), "removed": len(removed)}
        kinds.update({kind: count for kind, count in counts.items() if count})
    return RowChanges(sentences, kinds)


def changed_parts(folds: FoldTable, table: LesionTable, rules: Folds) -> str:
    """Images that stand in another part of the data now than when the folds were made by its parts:
    the count and the first; blank where none does, or the folds are not by its parts."""
    fold = folds.whole["fold"]
    single = bool((fold == NEVER).any()) and has_own_split(table, rules)
    apart = not folds.test.empty and rules.holdout in ("folders", "supplied")
    if "part" not in table.frame or not (single or apart):
        return ""
    part = folds.whole["image_name"].map(dict(zip(table.names, table.frame["part"], strict=True)))
    differ = (fold == TEST) != (part == "test")
    if single:
        differ |= (fold == NEVER) != (part == "train")
    differ &= part.notna()
    rows = zip(folds.whole["image_name"][differ], fold[differ], part[differ], strict=True)
    words = {NEVER: "training", TEST: "test"}
    moved = [f"{name}: {words.get(was, f'fold {was}')} -> {now}" for name, was, now in rows]
    more = f" and {len(moved) - _SHOWN:,} more" if len(moved) > _SHOWN else ""
    return f"{len(moved):,} images ({', '.join(moved[:_SHOWN])}{more})" if moved else ""


def _compared(ours: pd.DataFrame, theirs: pd.DataFrame, record: FoldRecord | None) -> list[str]:
    """Columns that both have; one that the table is silent about (or is not asked for) is not."""
    if record is None:
        return [c for c in ("label", *IDENTITIES) if c == "label" or _says_something(theirs[c])]
    extra_columns = [str(c) for c in theirs if c not in _OURS and c in ours]
    return [
        c for c in (*SOURCE_COLUMNS, *extra_columns) if c == "label" or _says_something(theirs[c])
    ]


def _says_something(column: pd.Series) -> bool:
    return bool((column.notna() & (column.astype(str) != "")).any())


def _may_lack(record: FoldRecord) -> bool:
    """Whether rows without an image were left out when the folds were made."""
    return bool(record.meaning.get("data", {}).get("rows") == "with_image")


def _otherwise(column: str, then: pd.Series, now: pd.Series) -> Flags:
    if column == "age":
        return ((then != now) & ~(then.isna() & now.isna())).to_numpy(dtype=np.bool_)
    then, now = then.astype(str), now.astype(str)
    if column == "sex":  # earlier versions read fewer words
        then = read_sexes(then).words
    return (then != now).to_numpy(dtype=np.bool_)


def _other_identity(then: pd.Series, now: pd.Series, fold: pd.Series) -> Flags:
    """Rows of another identity; of one that a file without any did not know, or had in two
    spellings, those that are in several folds. Earlier versions found fewer columns of patients,
    took 12.0 for another than 12, and called it MRN:12 beside a column without a value."""
    numbers = now.map(plain_number)
    other = then.map(plain_number) != numbers
    other &= then.map(lambda old: plain_number(old.split(":", 1)[-1])) != numbers
    if not _says_something(then):
        other = pd.Series(False, then.index)
    folds = fold[now != ""].groupby(now[now != ""]).nunique()
    apart = now.isin(folds[folds > 1].index)
    return (other | ((then != now) & apart)).to_numpy(dtype=np.bool_)


def _otherwise_grouped(then: pd.Series, now: pd.Series) -> Flags:
    """Rows whose identities (both known) are not those that most of their images' have."""
    both = pd.DataFrame({"then": then, "now": now})
    known = both[(both["then"] != "") & (both["now"] != "")]
    if known.empty:
        return np.zeros(len(then), dtype=np.bool_)
    counts = known.value_counts(sort=True).reset_index()
    usual_now = counts.drop_duplicates("then").set_index("then")["now"]
    usual_then = counts.drop_duplicates("now").set_index("now")["then"]
    differ = (known["then"].map(usual_now) != known["now"]) | (
        known["now"].map(usual_then) != known["then"]
    )
    return differ.reindex(then.index, fill_value=False).to_numpy(dtype=np.bool_)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "blank" if value != value else f"{value:g}"
    return str(value) or "blank"
