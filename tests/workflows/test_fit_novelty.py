"""A run's novelty score: fitted on its held-out images in their order, and what is said of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_bundle import TinyRun

from melanoma.scoring import novelty as fitted
from melanoma.scoring.novelty import MINIMUM, SHARE, HeldOutNovelty, fit_novelty
from melanoma.scoring.square_statistics import square_statistics
from melanoma.workflows import fit_novelty as workflow
from melanoma.workflows.finished import FinishedFolds, finished_folds
from melanoma.workflows.fit_novelty import fit_run_novelty, summarize_novelty
from melanoma.workflows.watch import SILENT, Watch


@pytest.fixture(scope="module")
def finished(trained: TinyRun) -> FinishedFolds:
    folds = trained.folder.parent / "folds.csv"
    return finished_folds(trained.recipe, trained.folder, folds, watch=SILENT)


@pytest.fixture
def few_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (fitted, workflow):
        monkeypatch.setattr(module, "MINIMUM", 10)


@pytest.mark.usefixtures("few_are_enough")
def test_each_held_out_image_is_fitted_with_its_own_embedding_and_statistics(
    trained: TinyRun, finished: FinishedFolds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workflow, "_BATCH", 7)  # the last one is smaller
    arrays, frame = trained.folder.parent / "arrays", finished.scores.frame
    # The network that is set by hand tells too few images apart.
    embeddings = np.random.default_rng(0).normal(size=(len(frame), 12)).astype(np.float16)
    monkeypatch.setattr(workflow, "embed_finished", lambda *_, **__: embeddings)
    found = fit_run_novelty(finished, arrays, seed=None, watch=SILENT)
    assert found is not None
    squares = [trained.array.rows([trained.array.row_of[name]])[0] for name in frame["image_name"]]
    expected = fit_novelty(
        embeddings,
        square_statistics(np.stack(squares)),
        frame["fold"].to_numpy(np.int64),
        finished.scores.groups,
        seed=trained.recipe.seed,
    )
    assert expected is not None
    assert found.novelty.folds == expected.novelty.folds == (0, 1)
    assert found.novelty.threshold == pytest.approx(expected.novelty.threshold, rel=1e-6)
    assert np.allclose(found.novelty.means, expected.novelty.means, rtol=1e-6)
    counts = frame["label"].value_counts()
    assert {line.name: line.images for line in found.summary.by_class} == counts.to_dict()
    novel = expected.scores >= expected.novelty.threshold
    assert sum(line.novel for line in found.summary.by_class) == novel.sum() > 0
    assert found.summary.threshold == found.novelty.threshold
    assert found.summary.groups == len(np.unique(finished.scores.groups))
    other = fit_run_novelty(finished, arrays, seed=trained.recipe.seed + 1, watch=SILENT)
    assert other is not None and other.novelty.threshold != found.novelty.threshold


def test_few_lesions_have_no_score_and_a_note_says_so(
    trained: TinyRun, finished: FinishedFolds
) -> None:
    said: list[str] = []
    arrays = trained.folder.parent / "arrays"
    assert fit_run_novelty(finished, arrays, seed=0, watch=Watch(say=said.append)) is None
    assert said == [
        f"note: no novelty score: it needs {MINIMUM} held-out lesions or patients",
    ]


@pytest.mark.usefixtures("few_are_enough")
def test_without_the_folds_array_there_is_no_score(finished: FinishedFolds, tmp_path: Path) -> None:
    said: list[str] = []
    assert fit_run_novelty(finished, tmp_path, seed=0, watch=Watch(say=said.append)) is None
    assert len(said) == 1 and "novelty score" in said[0] and str(tmp_path) in said[0]


def test_a_summary_counts_the_novel_of_each_class_from_the_threshold_on() -> None:
    rng = np.random.default_rng(0)
    columns: Any = [2]
    found = fit_novelty(
        rng.normal(size=(MINIMUM, 3)),
        rng.normal(size=(MINIMUM, 2)),
        np.arange(MINIMUM) % 2,
        np.arange(MINIMUM),
        rank=1,
        columns=columns,
        seed=0,
    )
    assert found is not None
    novelty = replace(found.novelty, threshold=2.0)
    scores = np.array([2.0, 1.9, 3.0, 0.0, 2.5])
    labels, groups = (
        np.array(["wart", "nevus", "nevus", "nevus", "wart"]),
        np.array([4, 7, 7, 8, 4]),
    )
    summary = summarize_novelty(HeldOutNovelty(novelty, scores), labels, groups)
    assert (summary.threshold, summary.share, summary.groups) == (2.0, SHARE, 3)
    lines = [(line.name, line.images, line.novel) for line in summary.by_class]
    assert lines == [("nevus", 3, 1), ("wart", 2, 2)]
