"""Writing down what a command line said of its data, in the records of an array and a fold file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from melanoma.data.arrays import ImageArray
from melanoma.data.find_array import amend_record
from melanoma.data.fold_record import record_file
from melanoma.storage import write_json
from melanoma.workflows.data_options import keep_options, read_record


def remember_options(
    array: ImageArray | None,
    arrays: Path,
    base: dict[str, Any],
    options: Sequence[str],
    *,
    folds: Path | None = None,
) -> None:
    """Keep the options in the array's record, and in that of the fold file `folds`.

    `base` is the data section of the recipe's own file. A record that cannot be written stays as it
    is: then the options are to be said again.
    """
    if not options:
        return
    if array is not None:
        record = arrays / f"{array.path.stem}.json"
        amend_record(record, options=keep_options(record, base, options))
    if folds is None or not os.access(folds.parent, os.W_OK):
        return
    record, values = record_file(folds), read_record(record_file(folds))
    recorded = keep_options(record, base, options)
    if values and values.get("options") != recorded:
        write_json(record, {**values, "options": recorded})
