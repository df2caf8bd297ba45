"""add_quality: limits from the array that the folds were trained on, and a note without it."""

from __future__ import annotations

import pytest

from melanoma.data.square_quality import MEASURES, measure_square
from melanoma.evaluation.measure import picture_quality as fitted
from melanoma.scoring.bundle.bundle import load_bundle
from melanoma.workflows import learn_quality
from melanoma.workflows.finished import FinishedFolds, finished_folds
from melanoma.workflows.watch import SILENT, Watch
from tests.support.tiny_bundle import TinyRun


@pytest.fixture
def finished(trained: TinyRun) -> FinishedFolds:
    folds = trained.folder.parent / "folds.csv"
    return finished_folds(trained.recipe, trained.folder, folds, watch=SILENT)


def test_the_limits_lie_within_what_the_array_holds(trained, finished, monkeypatch):
    monkeypatch.setattr(fitted, "FEWEST", 10)
    monkeypatch.setattr(learn_quality, "FEWEST", 10)
    before = load_bundle(trained.folder).report
    arrays = trained.folder.parent / "arrays"
    found = learn_quality.add_quality(before, finished, arrays, watch=SILENT).quality
    rows = [measure_square(trained.array.rows([row])[0]) for row in range(len(trained.array.names))]
    assert found.images == len(rows)
    for limit in fitted.LIMITS:
        values = [row.as_row()[MEASURES.index(limit.measure)] for row in rows]
        bound = getattr(found.limits, limit.measure)
        assert min(values) <= bound <= max(max(values), 0.01)


@pytest.mark.parametrize("why", ["too few images", "not at hand"])
def test_where_nothing_can_be_learned_a_note_says_so(trained, finished, tmp_path, why):
    before = load_bundle(trained.folder).report
    arrays = trained.folder.parent / "arrays" if why == "too few images" else tmp_path
    notes: list[str] = []
    report = learn_quality.add_quality(before, finished, arrays, watch=Watch(say=notes.append))
    assert report.quality is None
    assert why in notes[0]
