"""What became of the images of a table before they were scored."""

from __future__ import annotations

from melanoma.data.fold_record import load_record
from melanoma.data.folds import NEVER, TEST
from melanoma.evaluation.report.schema_parts import Flow
from melanoma.workflows.finished import FinishedFolds


def count_flow(trained: FinishedFolds) -> Flow:
    """From the fold file and its record; what was read is null where it has no record."""
    table, record = trained.table, load_record(trained.path, trained.table)
    fold = table.whole["fold"]
    runs = {run.fold for run in trained.runs}
    return Flow(
        read=None if record is None else len(table) + len(record.skipped),
        unreadable=None if record is None else len(record.skipped),
        never_held_out=int((fold == NEVER).sum()),
        in_test_part=int((fold == TEST).sum()),
        untrained=int(fold.isin(set(table.folds) - runs).sum()),
    )
