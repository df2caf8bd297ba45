"""What a fold file was made from, kept beside it: folds/NAME.csv has folds/NAME.made_from.json.

The fold file itself stays the plain table that it was, for any notebook and every earlier version.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from melanoma.data.folds import FoldTable
from melanoma.data.readers.table import LesionTable
from melanoma.storage import digest_of, read_text, write_json

# Columns of a table that a fold file takes over.
SOURCE_COLUMNS = ("label", "patient_id", "lesion_id", "age", "sex", "site")


@dataclass(frozen=True)
class FoldRecord:
    """`folds` is the digest of the fold table that the record belongs to, `rows` that of the
    table's rows, `folder` where the table lay. `meaning` says how it was read: classes, melanoma
    and the recipe's data section. `skipped` are its rows that no fold has. `options` are those of
    the command line (see remember_options)."""

    folds: str
    rows: str
    folder: str
    meaning: dict[str, Any]
    skipped: tuple[str, ...] = ()
    array: str | None = None
    options: dict[str, Any] = field(default_factory=dict)


def record_file(path: Path) -> Path:
    """Where the record of the fold file at `path` lies."""
    return path.with_name(f"{path.stem}.made_from.json")


def save_record(path: Path, record: FoldRecord) -> None:
    """Write the record of the fold file at `path`."""
    write_json(record_file(path), asdict(record))


def load_record(path: Path, folds: FoldTable) -> FoldRecord | None:
    """The record of the fold file at `path`; None where there is none, or it is another file's."""
    try:
        values = json.loads(read_text(record_file(path)))
        record = FoldRecord(**{**values, "skipped": tuple(values["skipped"])})
    except (OSError, ValueError, KeyError, TypeError):
        return None  # the rows themselves are compared all the same
    return record if record.folds == folds.digest else None


def digest_rows(table: LesionTable) -> str:
    """sha256 over what the table says of its images, whatever the order of its rows."""
    rows = table.frame[["image_name", *SOURCE_COLUMNS]].astype(str)
    return digest_of(sorted(rows.itertuples(index=False, name=None)))
