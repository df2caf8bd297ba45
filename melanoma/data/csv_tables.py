"""CSV files read strictly: every column as text, so that one bad cell stays one bad cell."""

from __future__ import annotations

import csv
import difflib
import io
import re
import unicodedata
import zlib
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

import pandas as pd

from melanoma.errors import AbsentError, DataError
from melanoma.storage import read_file

_DIGITS = re.compile(r"\d+")
# A photograph in base64 is a cell, too; pandas reads them of any length.
csv.field_size_limit(2**31 - 1)
_MOST_COLUMNS, _MOST_LETTERS = 10_000, 10_000
_MOST_BYTES = 1 << 30  # of a compressed table, unpacked
_GZIP = 16 + zlib.MAX_WBITS
# How .xlsx and .ods, .xls and .parquet begin.
_FOREIGN = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"PAR1")


def read_table(path: Path, *, needed: Sequence[str]) -> pd.DataFrame:
    """All columns as stripped text, blank where empty; row i stands on line i + 2 of the file.

    Headers are stripped as cells are, and letters are composed (Unicode's NFC). A file whose name
    ends in .gz is unpacked.

    Raises DataError when the file is absent, empty, not UTF-8, starts with a byte-order mark,
    is separated by something else than commas, lacks a needed column, or has a row that ends
    early.
    """
    text = _read_text(path, needed)
    header = _read_header(text, path)
    if len(header) == 1 and any(mark in header[0] for mark in ";\t|"):
        raise DataError(
            f"{path} is not separated by commas (columns found: {header[0]!r}{_needed(needed)}); "
            "save it as CSV with commas"
        )
    try:
        require_columns(header, needed, origin=str(path))
    except DataError as error:
        raise DataError(f"{error}{_without_header(text)}") from error
    twice = [name for name in needed if header.count(name) > 1]
    if twice:
        raise DataError(f"{path} has more than one column {', '.join(twice)}")
    try:
        table = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, ValueError) as error:
        raise DataError(f"{path} is not a table: {error}") from error
    _require_whole_rows(text, path, cells=len(header))
    if not isinstance(table.index, pd.RangeIndex):
        # pandas would take the surplus for an index and shift every column.
        raise DataError(f"{path} has more cells in a row than the header has columns")
    if table.empty:
        raise DataError(f"{path} has a header and no rows")
    if len(header) == table.shape[1]:
        table.columns = pd.Index(_apart(header))
    # Kaggle writes a missing value as an empty cell or as NA.
    cleaned: pd.DataFrame = table.apply(
        lambda column: column.str.strip().replace({"NA": "", "nan": "", "NaN": ""})
    )
    return cleaned


def _read_header(text: str, path: Path) -> list[str]:
    try:
        header = [_plain(cell) for cell in next(csv.reader(io.StringIO(text)), [])]
    except csv.Error as error:
        raise DataError(f"{path} is not a table: {error}") from error
    if len(header) > _MOST_COLUMNS:
        raise DataError(f"{path} has {len(header):,} columns; at most {_MOST_COLUMNS:,} are read")
    if longest := max((len(name) for name in header if len(name) > _MOST_LETTERS), default=0):
        raise DataError(f"{path} has a column with a name of {longest:,} letters: no table")
    return header


def _without_header(text: str) -> str:
    """A hint where the first line is a row: a cell of it has the letters of the cell below it, and
    other digits."""
    try:
        lines = list(islice(filter(None, csv.reader(io.StringIO(text))), 2))
    except csv.Error:
        return ""
    for name, below in zip(*lines, strict=False) if len(lines) == 2 else ():
        shapes = {_DIGITS.sub("0", cell) for cell in (name, below)}
        if _DIGITS.search(name) and len(shapes) == 1:
            return "; its first line looks like a row: put one with the columns' names above it"
    return ""


def _require_whole_rows(text: str, path: Path, *, cells: int) -> None:
    """Refuse rows that end early: blanks in their place would be a guess. Blank lines are none."""
    rows = enumerate(csv.reader(io.StringIO(text)), start=1)
    try:
        short = [
            (number, len(row))
            for number, row in rows
            if len(row) < cells and any(map(str.strip, row))
        ]
    except csv.Error as error:  # such as a line that ends within a cell, which pandas takes apart
        raise DataError(f"{path} is not a table: {error}") from error
    if short:
        number, length = short[0]
        more = f", and {len(short) - 1} more rows" if len(short) > 1 else ""
        raise DataError(
            f"{path}: row {number - 1} has {length} cells where the header has {cells}{more}; "
            "is the file cut off?"
        )


def _read_text(path: Path, needed: Sequence[str]) -> str:
    try:
        data = read_file(path)
    except OSError as error:
        absent = isinstance(error, FileNotFoundError | NotADirectoryError)
        refusal = AbsentError if absent else DataError
        raise refusal(f"no table at {path} ({error.strerror})") from error
    if path.suffix == ".gz":
        data = _unpack(data, path)
    if data.startswith(b"\xef\xbb\xbf"):
        raise DataError(
            f"{path} starts with a byte-order mark (columns found: {_first_line(data)!r}"
            f"{_needed(needed)}); save it as plain UTF-8"
        )
    if data.startswith(_FOREIGN):
        raise DataError(f"{path} is no CSV but a spreadsheet or archive; save it as CSV (UTF-8)")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text; save it as UTF-8 with commas") from error
    if not text.strip():
        raise DataError(f"{path} is empty; columns needed: {', '.join(needed)}")
    if "\n" not in text:
        text = text.replace("\r", "\n")  # as old Macs end their lines
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _unpack(data: bytes, path: Path) -> bytes:
    unpacking = zlib.decompressobj(_GZIP)
    try:
        text = unpacking.decompress(data, _MOST_BYTES)
    except zlib.error as error:
        raise DataError(f"{path} is no gzip file, or a damaged one ({error})") from error
    if unpacking.unconsumed_tail:
        raise DataError(f"{path} has more than {_MOST_BYTES:,} bytes when it is unpacked")
    if not unpacking.eof:
        raise DataError(f"{path} is cut off")
    return text


def _first_line(data: bytes) -> str:
    return data[3:500].decode("utf-8", "replace").partition("\n")[0].strip()


def _needed(columns: Sequence[str]) -> str:
    return f"; needed: {', '.join(columns)}" if columns else ""


def _plain(header: str) -> str:
    """Without spaces at its ends, those included that are not seen."""
    return header.strip().strip("\u200b\u2060\ufeff").strip()


def _apart(header: Sequence[str]) -> list[str]:
    """The headers, a repeated one with a number behind it, as pandas has them."""
    seen: dict[str, int] = {}
    names = []
    for name in header:
        count = seen[name] = seen.get(name, -1) + 1
        names.append(f"{name}.{count}" if count else name)
    return names


def require_columns(header: Iterable[str], needed: Sequence[str], *, origin: str) -> None:
    """Raise DataError naming the columns found and needed, with the likely misspelling."""
    columns = list(header)
    missing = [name for name in needed if name not in columns]
    if not missing:
        return
    hints = []
    for name in missing:
        close = difflib.get_close_matches(name.lower(), [c.lower() for c in columns], n=1)
        original = next((c for c in columns if close and c.lower() == close[0]), None)
        hints.append(f"{name} (did you mean {original}?)" if original else name)
    raise DataError(
        f"{origin} lacks {', '.join(hints)}; columns found: {', '.join(columns) or 'none'}; "
        f"needed: {', '.join(needed)}"
    )


def some_rows(bad: pd.Series, values: pd.Series) -> str:
    """The first five rows where `bad` holds, as `row 3 (line 4): 'x'`."""
    rows = [i for i, is_bad in enumerate(bad) if is_bad]
    shown = ", ".join(f"row {i + 1} (line {i + 2}): {values.iloc[i]!r}" for i in rows[:5])
    return shown + (f" and {len(rows) - 5} more" if len(rows) > 5 else "")
