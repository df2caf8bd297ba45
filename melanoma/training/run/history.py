"""The epochs of a run as its report and its curves have them, from metrics.jsonl."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from melanoma.errors import DataError
from melanoma.evaluation.report.schema import FoldHistory
from melanoma.storage import read_text
from melanoma.training.run.survey import numeric_order


def read_histories(folders: Iterable[Path]) -> tuple[FoldHistory, ...]:
    """A FoldHistory each of those fold folders that recorded an epoch. Raises DataError."""
    histories = [_read(folder / "metrics.jsonl") for folder in folders]
    return tuple(history for history in histories if history is not None)


def read_run(folder: Path) -> tuple[FoldHistory, ...]:
    """The run's folds as they stand, finished or not; of a run without, what its report says.

    Raises DataError for a damaged record.
    """
    folds = sorted(folder.glob("fold_*"), key=lambda path: numeric_order(path.name))
    histories = read_histories(folds)
    report = folder / "report.json"
    if histories or not report.is_file():
        return histories
    try:
        stated = json.loads(read_text(report)).get("history", ())
        return tuple(FoldHistory.model_validate(history) for history in stated)
    except (ValueError, AttributeError, TypeError) as error:
        raise DataError(f"{report} is damaged ({type(error).__name__})") from error


def _read(path: Path) -> FoldHistory | None:
    if not path.is_file():
        return None
    try:
        records = [json.loads(line) for line in read_text(path).splitlines()]
        return _history(records) if records else None
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise DataError(f"{path} is damaged ({type(error).__name__}: {error})") from error


def _history(records: list[dict[str, Any]]) -> FoldHistory:
    return FoldHistory(
        fold=records[0]["fold"],
        epochs=tuple(record["epoch"] for record in records),
        loss=tuple(record["loss"] for record in records),
        held_out_loss=tuple(record["valid_loss"] for record in records),
        rate=tuple(max(record["rates"]) for record in records),
    )
