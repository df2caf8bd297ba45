"""predict's rows as Parquet: one schema for every file, whatever rows it has (needs pyarrow)."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from melanoma.scoring.files.score_rows import COLUMNS, Row, as_columns

_TEXT = (
    *("image_name", "warnings", "verdict", "quality_reasons", "threshold_at", "prediction"),
    *("frequency", "set", "image_type", "disclaimer", "error"),
)
_TRUTH = ("flagged", "quality_ok", "is_novel", "calibrated")
_RANGES = ("sensitivity", "specificity")  # with their two ends


def row_schema(classes: Sequence[str]) -> Any:
    """The pyarrow schema of a table of rows: COLUMNS as a table has them, and where there are more
    than two `classes` prob_NAME of each."""
    import pyarrow as pa

    fields = []
    for name in COLUMNS:
        if name == "by_class":
            continue
        kind = pa.float64()
        if name in _TEXT:
            kind = pa.string()
        elif name in _TRUTH:
            kind = pa.bool_()
        elif name == "by_fold":
            kind = pa.list_(pa.float64())
        ends = [f"{name}_low", f"{name}_high"] if name in _RANGES else []
        fields += [pa.field(one, kind) for one in (name, *ends)]
    if len(classes) > 2:
        fields += [pa.field(f"prob_{name}", pa.float64()) for name in classes]
    return pa.schema(fields)


def parquet_bytes(rows: Sequence[Row], classes: Sequence[str], facts: Mapping[str, str]) -> bytes:
    """A Parquet file of the rows, `facts` in its metadata."""
    import pyarrow as pa
    from pyarrow import parquet

    schema = row_schema(classes).with_metadata(facts)
    file = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(as_columns(rows), schema=schema), file)
    return file.getvalue()
