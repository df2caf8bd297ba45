"""The table of predict: a row an image, its columns, and what a cell or a name may hold."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from melanoma.errors import DataError, MelanomaError
from melanoma.storage import write_text

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]
# A Prediction's fields; "code: sentence" where there is no score; or what is to end the run.
Answer: TypeAlias = Mapping[str, Any] | str | MelanomaError
COLUMNS = (
    "image_name",
    "warnings",  # first of all: they say what the rest is worth
    "melanoma_probability",
    "flagged",
    "verdict",
    "quality_ok",
    "quality_reasons",
    "novelty",
    "is_novel",
    "threshold",
    "threshold_at",
    "sensitivity",
    "specificity",
    "prediction",
    "probability",
    "frequency",
    "set",
    "by_class",
    "by_fold",
    "calibrated",
    "prevalence",
    "image_type",
    "disclaimer",
    "error",
)
FIELDS = COLUMNS[1:]  # what the photograph decides; its name is put in when the table is written
# A spreadsheet takes a cell that begins so for a formula, and runs it.
FORMULA = ("=", "+", "-", "@", "\t", "\r")
_UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")  # control, surrogate, line and paragraph separators


def faulty_row(error: str) -> Row:
    """The row of a file that has no score."""
    return {**dict.fromkeys(FIELDS), "error": error}


def answered_row(answer: Mapping[str, Any]) -> Row:
    """The row of a Prediction's fields, its name excepted."""
    # A service of before there were verdicts, sets, frequencies or novelty says none.
    threshold, verdict = answer["threshold"] or {}, answer.get("verdict") or {}
    possible, frequency = answer.get("set"), answer.get("frequency") or {}
    quality = answer.get("quality") or {}
    novelty, model = answer.get("novelty") or {}, answer.get("model") or {}
    return {
        "warnings": "; ".join(answer["warnings"]),
        "melanoma_probability": answer["melanoma_probability"],
        "flagged": answer["flagged"],
        "verdict": verdict.get("code"),
        "quality_ok": quality.get("ok"),
        "quality_reasons": "; ".join(quality.get("reasons", ())),
        "novelty": novelty.get("score"),
        "is_novel": novelty.get("is_novel"),
        "threshold": threshold.get("value"),
        "threshold_at": threshold.get("at"),
        "sensitivity": threshold.get("sensitivity"),
        "specificity": threshold.get("specificity"),
        "prediction": answer["prediction"],
        "probability": answer["probability"],
        "frequency": frequency.get("text"),
        "set": "; ".join(possible["classes"]) if possible else None,
        "by_class": answer["by_class"],
        "by_fold": answer["by_fold"],
        "calibrated": answer["calibrated"],
        "prevalence": answer["prevalence"],
        "image_type": model.get("image_type"),
        "disclaimer": answer["disclaimer"],
        "error": "",
    }


def save_rows(rows: Sequence[Row], path: Path) -> None:
    """Write the rows as a CSV file, whole or not at all. Raises StorageError."""
    import pandas as pd

    # As they are: pandas would make 3 of a rank 3.0 where another row has none.
    table = pd.DataFrame(
        [{key: plain_cell(value) for key, value in row.items()} for row in as_columns(rows)],
        dtype=object,
    )
    write_text(path, table.to_csv(index=False, lineterminator="\n"))


def as_columns(rows: Sequence[Row]) -> list[Row]:
    """The rows as a table has them: by_class as a column a class, prob_NAME, where there are more
    than the two whose probabilities add up to 1; what the threshold reaches with its two ends."""
    classes: dict[str, float] = next((row["by_class"] for row in rows if row["by_class"]), {})
    column_classes = classes if len(classes) > 2 else {}
    return [
        {
            **_flat(row),
            **{f"prob_{name}": (row["by_class"] or {}).get(name) for name in column_classes},
        }
        for row in rows
    ]


def _flat(row: Row) -> Row:
    flat: Row = {}
    for key, value in row.items():
        if key in ("sensitivity", "specificity"):
            reached = value or {}
            flat[key] = reached.get("value")
            flat |= {f"{key}_{end}": reached.get(end) for end in ("low", "high")}
        elif key != "by_class":
            flat[key] = value
    return flat


def plain_cell(value: Any) -> Any:
    """The value; a text that a spreadsheet would run has ' before it, so that it stays text."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def plain_table(table: pd.DataFrame) -> pd.DataFrame:
    """The table as people open it: its texts and column names as plain_cell has them."""
    return table.map(plain_cell).rename(columns=plain_cell)


def require_plain_names(names: Sequence[str]) -> None:
    """Raise DataError for a name that no table can hold, or that is another's in it."""
    odd = [name for name in names if any(unicodedata.category(c) in _UNPRINTABLE for c in name)]
    if odd:
        raise DataError(
            f"{len(odd)} images have a name that is not UTF-8 or holds control characters, such as "
            f"{odd[0]!a}; rename them"
        )
    cells = {plain_cell(name): name for name in names}
    for name in names:
        if cells[plain_cell(name)] != name:
            raise DataError(
                f"a table cannot tell {name} from {cells[plain_cell(name)]}; rename one"
            )
