"""Labels: from the cells of a target column, or names of folders, to class numbers."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from melanoma.data.csv_tables import some_rows
from melanoma.errors import DataError, RecipeError
from melanoma.recipe.sections import BINARY_CLASSES

UNLABELED = -1
_ONE_HOT = {"0", "0.0", "1", "1.0"}

# What nobody calls a melanoma. Words, not a guess at them: a code may mean anything.
_BENIGN = {
    *("benign", "false", "no", "0", "0.0", "negative", "control", "healthy", "normal"),
    *("nevus", "naevus", "nv", "melanocytic nevus", "seborrheic keratosis", "not melanoma"),
    *("non-melanoma", "non melanoma", "nonmelanoma", "non_melanoma", "no melanoma"),
}

_MELANOMA = re.compile(r"(?<!non )(?<!not )(?<!no )\bmelanomas?\b")

# The codes of HAM10000's dx column (Tschandl, Rosendahl, Kittler 2018).
HAM10000_CLASSES = {
    "akiec": "actinic keratosis / intraepithelial carcinoma",
    "bcc": "basal cell carcinoma",
    "bkl": "benign keratosis-like lesion",
    "df": "dermatofibroma",
    "mel": "melanoma",
    "nv": "melanocytic nevus",
    "vasc": "vascular lesion",
}


def read_targets(
    values: pd.Series,
    classes: Sequence[str],
    *,
    positive: Sequence[str] | None = None,
    labels: Mapping[str, str] | None = None,
) -> tuple[pd.Series, list[str]]:
    """Class numbers (UNLABELED where a cell means none), and what is wrong, one line a fault.

    `labels` says what a cell means; `positive` which cells are the second of two classes; without
    both, cells are class names or, where no cell is one, class numbers. Raises DataError when no
    cell is in `positive`.
    """
    if len(classes) > 2 and values.name in classes and set(values) <= _ONE_HOT:
        # As numbers of classes, the 1 would mean the second class, whatever the column's name.
        fault = (
            f"the column {values.name} is named as a class and holds 0 and 1: labels in a column a "
            f"class are --set 'data.target_cols=[{', '.join(classes)}]'"
        )
        return pd.Series(UNLABELED, values.index), [fault]
    means, allowed = _meaning(values, classes, positive=positive, labels=labels)
    numbers = values.map(means)
    bad, otherwise = numbers.isna(), _other_spellings(values, positive or ())
    problems = _refuse_spellings(values[otherwise], positive or ())
    # Fold files that an earlier version made of them, as the first class, have other labels now.
    numbers = numbers.mask(otherwise)
    if bad.any():
        hint = _positive_hint(values) if allowed == "0 or 1" else _hint(values[bad], means, labels)
        if not all(values[bad]):
            hint += "; where it is blank, label the row or take it out of the table"
        shown = some_rows(bad, values)
        problems.append(
            f"{int(bad.sum())} rows whose {values.name} is not {allowed}: {shown}{hint}"
        )
    if labels is not None or len(classes) > 2:
        present = set(numbers.dropna().astype(int))
        absent = [name for number, name in enumerate(classes) if number not in present]
        if absent:
            problems.append(f"no row's {values.name} means {', '.join(map(repr, absent))}")
    return numbers.fillna(UNLABELED).astype(int), problems


def _other_spellings(values: pd.Series, positive: Sequence[str]) -> pd.Series:
    """Where a cell is one of `positive` in other letters (TRUE beside True) or as another number
    (1.0 beside 1): it would count as benign."""
    listed = {_spelled(value) for value in positive}
    others = {c for c in set(values) if c not in positive and _spelled(c) in listed}
    return values.isin(others)


def _refuse_spellings(others: pd.Series, positive: Sequence[str]) -> list[str]:
    if others.empty:
        return []
    return [
        f"rows whose {others.name} is {counted(others)} beside "
        f"{', '.join(map(repr, positive))}: list every spelling in data.positive, or mend the table"
    ]


def _spelled(cell: str) -> str:
    words = re.sub(r"(?<=\w)[\s_-]+(?=\w)", " ", cell.strip()).casefold()
    return re.sub(r"(?<=\d)\.0+$", "", words)


def doubt_melanoma(
    positive: Iterable[str] | None, labels: Mapping[str, str] | None = None
) -> list[str]:
    """A sentence where a value that is to count as melanoma is a word for what is none."""
    meant = [cell for cell, name in (labels or {}).items() if name.strip().lower() == "melanoma"]
    doubts = []
    for field, values in (("positive", positive or ()), ("labels", meant)):
        doubtful = [repr(value) for value in values if value.strip().lower() in _BENIGN]
        if doubtful:
            doubts.append(f"data.{field} counts {', '.join(doubtful)} as melanoma: is that so?")
    return doubts


def doubt_column(column: str, values: Iterable[str], classes: Sequence[str]) -> list[str]:
    """A sentence where a column named as what is none holds 0 and 1, and its 1 is melanoma."""
    if len(classes) > 2 or column.strip().lower() not in _BENIGN or not set(values) <= _ONE_HOT:
        return []
    if classes[1].strip().lower() in _BENIGN:
        return []
    return [f"each 1 of the column {column} counts as {classes[1]}: is that so?"]


def doubt_rest(
    values: Iterable[str], positive: Sequence[str] | None, classes: Sequence[str]
) -> list[str]:
    """A sentence where values that `positive` leaves out name a melanoma: they count as the first
    class without a word. Those that are its own in other letters are refused, and not told here."""
    listed = {_spelled(value) for value in positive or ()}
    rest = sorted(value for value in set(values) if _spelled(value) not in listed) if listed else []
    doubtful = [one for one in rest if names_melanoma(one)]
    if not doubtful:
        return []
    shown = _first([*map(repr, doubtful)], 12)
    return [f"data.positive leaves out {shown}, which count as {classes[0]}: is that so?"]


def names_melanoma(cell: str) -> bool:
    """Whether the word melanoma stands in the cell, and none that says it is not one."""
    return bool(_MELANOMA.search(re.sub(r"[\s_-]+", " ", cell.lower())))


def read_folders(
    folders: pd.Series, classes: Sequence[str], *, labels: Mapping[str, str] | None = None
) -> tuple[pd.Series, list[str]]:
    """Class numbers of images in folders of these names (UNLABELED where a folder is no class),
    and what is wrong, one line a fault.

    A folder is the class of its name, or what `labels` says of it.
    """
    means = {_nfc(name): name for name in classes}
    means |= {_nfc(folder): name for folder, name in (labels or {}).items()}
    counts = folders.value_counts(sort=False)
    foreign = [name for name in counts.index if name not in means]
    present = {means[name] for name in counts.index if name in means}
    absent = [name for name in classes if name not in present]
    problems = []
    if foreign:
        entries = [f"{n!r} ({counts[n]:,} images)" for n in foreign]
        problems.append(
            f"{len(foreign)} folders that are no class: {_first(entries)}; --set "
            f"'data.labels={{{foreign[0]}: CLASS, ...}}' says what a folder means"
        )
    if absent:
        entries = [repr(name) for name in absent]
        problems.append(f"{len(absent)} classes without an image: {_first(entries)}")
    numbers = folders.map({name: classes.index(meant) for name, meant in means.items()})
    return numbers.fillna(UNLABELED).astype(int), problems


def names_of(targets: pd.Series, classes: Sequence[str]) -> list[str]:
    """The class name a row, blank where it is unlabeled."""
    return [classes[number] if number >= 0 else "" for number in targets]


def ham10000_labels(
    classes: Sequence[str], labels: Mapping[str, str] | None = None
) -> dict[str, str]:
    """What each dx code means among these classes, `labels` coming first.

    Raises RecipeError for classes of the caller's own without `labels`.
    """
    known: dict[str, str] = {}
    if set(classes) == set(HAM10000_CLASSES.values()):
        known = HAM10000_CLASSES
    elif tuple(classes) == BINARY_CLASSES:
        benign, melanoma = BINARY_CLASSES
        known = {code: melanoma if code == "mel" else benign for code in HAM10000_CLASSES}
    elif labels is None:
        raise RecipeError(
            f"classes: reader ham10000 knows {', '.join(BINARY_CLASSES)}; or all of "
            f"{', '.join(HAM10000_CLASSES.values())}; for others say what each dx code means: "
            f"data.labels={{{', '.join(f'{code}: CLASS' for code in HAM10000_CLASSES)}}}"
        )
    return {**known, **(labels or {})}


def _nfc(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _first(entries: Sequence[str], shown: int = 5) -> str:
    more = f" and {len(entries) - shown} more" if len(entries) > shown else ""
    return ", ".join(entries[:shown]) + more


def _meaning(
    values: pd.Series,
    classes: Sequence[str],
    *,
    positive: Sequence[str] | None,
    labels: Mapping[str, str] | None,
) -> tuple[dict[str, int], str]:
    """Cell -> class number, and in words what a cell may be."""
    cells = set(values) - {""}
    if labels is not None:
        return {cell: classes.index(name) for cell, name in labels.items()}, "in data.labels"
    if positive is not None:
        absent = [p for p in positive if p not in cells]
        if absent:
            raise DataError(f"no row has target {', '.join(absent)} (found: {counted(values)})")
        return {cell: int(cell in positive) for cell in cells}, "a class name"
    # Numbers only where no cell is a name: a mixture would be a guess.
    if cells & set(classes):
        return {name: number for number, name in enumerate(classes)}, "a class name"
    numbers = {f"{number}{end}": number for number in range(len(classes)) for end in ("", ".0")}
    if len(classes) == 2:
        return numbers, "0 or 1"
    return numbers, f"a class name or a number from 0 to {len(classes) - 1}"


# A hint lists values and names no class: which of them is the melanoma only a person knows, and
# what is spelled alike (melanoma, non-melanoma) may mean the opposite.
def _positive_hint(values: pd.Series) -> str:
    cells = set(values) - {""}
    others = cells - _ONE_HOT
    # 1 and 2 are a code of their own, in which 1 is no melanoma as often as it is.
    is_plain = {"0", "1"} <= {cell.removesuffix(".0") for cell in cells}
    if not others or len(cells) > 50 or is_plain:
        return ""
    return (
        f"; the values are {counted(values)}: list those that count as melanoma, "
        "--set 'data.positive=[VALUE, ...]'"
    )


def _hint(bad: pd.Series, known: Iterable[str], labels: Mapping[str, str] | None) -> str:
    """What a cell may be, or how to say what it means."""
    if not any(bad):
        return ""
    if labels is not None:
        known_values = _first([repr(cell) for cell in known], 12)
        return f"; it knows {known_values}; add VALUE: CLASS to data.labels"
    return (
        "; data.labels says what a value means: --set 'data.labels={VALUE: CLASS, ...}' "
        f"(values: {counted(bad)})"
    )


def counted(values: pd.Series) -> str:
    """The first values in the order of their letters, each with how many rows have it."""
    counts = values[values != ""].value_counts()
    return _first([f"{cell!r} ({counts[cell]:,})" for cell in sorted(counts.index)], 12)
