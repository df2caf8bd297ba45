"""What became of a table's images: each of them is scored, or counted where it was left out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fold_tables import held, parted

from melanoma.data.fold_record import FoldRecord, save_record
from melanoma.data.folds import NEVER, FoldTable, make_folds, save_folds
from melanoma.recipe.overrides import make_recipe
from melanoma.workflows.finished import FinishedFolds
from melanoma.workflows.image_flow import count_flow

RECIPE = make_recipe({"name": "r", "data": {"reader": "siim"}, "folds": {"name": "f"}})


@pytest.fixture
def finished(tmp_path: Path) -> FinishedFolds:
    """40 images, 8 of them the test part; of four folds one was not trained and three images are
    never held out. No record of how many were read."""
    folds = make_folds(parted((["train"] * 4 + ["test"]) * 8), held(k=4, holdout="folders"))
    frame = folds.whole.copy()
    frame.loc[frame.index[frame["fold"] == 0][:3], "fold"] = NEVER
    table, path = FoldTable(frame), tmp_path / "f.csv"
    save_folds(table, path)
    runs: Any = [SimpleNamespace(fold=number) for number in (0, 1, 3)]
    return FinishedFolds(tmp_path, path, RECIPE, table, runs)


def record(finished: FinishedFolds, *skipped: str, folds: str = "") -> None:
    digest = folds or finished.table.digest
    save_record(finished.path, FoldRecord(digest, "r", "data", {}, skipped))


def test_every_image_is_scored_or_counted_once(finished: FinishedFolds) -> None:
    record(finished, "broken", "empty")
    flow = count_flow(finished)
    assert (flow.read, flow.unreadable) == (42, 2)
    assert (flow.never_held_out, flow.in_test_part) == (3, 8)
    assert flow.untrained == (finished.table.whole["fold"] == 2).sum() > 0
    scored = finished.table.whole["fold"].isin([0, 1, 3]).sum()
    assert flow.read - flow.left_out == scored
    everything: Any = [*finished.runs, SimpleNamespace(fold=2)]
    assert count_flow(replace(finished, runs=everything)).untrained == 0


def test_without_a_record_of_these_folds_nobody_knows_what_was_read(
    finished: FinishedFolds,
) -> None:
    for other in (None, "0" * 64):
        if other:
            record(finished, "broken", folds=other)
        flow = count_flow(finished)
        assert (flow.read, flow.unreadable) == (None, None)
        assert (flow.never_held_out, flow.in_test_part) == (3, 8)
