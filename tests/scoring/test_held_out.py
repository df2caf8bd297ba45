"""Held-out images are embedded by the member that never saw them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from melanoma.errors import ScoreError
from melanoma.evaluation.score_table import concat_scores
from melanoma.scoring.held_out import embed_held_out
from melanoma.scoring.members import Outputs
from melanoma.scoring.scorer import Scorer
from melanoma.training.run.run_folder import fold_folder, load_run
from melanoma.workflows.embed_held_out import embed_finished, trained_array
from melanoma.workflows.finished import finished_folds
from melanoma.workflows.watch import Watch


class Marked:
    """A member of one fold, whose embeddings are the fold and the square's brightness."""

    backend = "marked"

    def __init__(self, fold: int) -> None:
        self.folds = (fold,)

    def outputs(self, squares: np.ndarray, *, views: int) -> Outputs:
        bright = squares.mean(axis=(1, 2, 3), dtype=np.float32)
        marks = np.stack([np.full_like(bright, self.folds[0]), bright], axis=1)
        return Outputs(np.zeros((len(squares), 1, 1)), marks[:, None])


def test_each_image_is_embedded_by_its_own_folds_member_in_the_order_asked(trained: Any) -> None:
    rows, folds = np.array([5, 2, 9, 0, 7]), np.array([1, 0, 1, 0, 1])
    asked: list[int] = []

    def member_of(fold: int) -> Any:
        asked.append(fold)
        return Marked(fold)

    found = embed_held_out(member_of, trained.array, rows, folds)
    assert asked == [0, 1], "one network at a time"
    assert found[:, 0].tolist() == folds.tolist()
    bright = trained.array.rows(rows).mean(axis=(1, 2, 3))
    assert np.allclose(found[:, 1], bright, rtol=1e-3)


def test_a_runs_held_out_images_are_embedded_in_the_order_of_its_scores(
    trained: Any, scorer: Scorer
) -> None:
    said: list[str] = []
    base = trained.folder.parent
    run = finished_folds(trained.recipe, trained.folder, base / "folds.csv", watch=Watch())
    watch = Watch(say=said.append)
    array = trained_array(run, base / "arrays", watch=watch)
    assert array is not None
    found = embed_finished(run, array, device=torch.device("cpu"))
    scores = concat_scores(
        [load_run(fold_folder(trained.folder, fold)).scores for fold in (0, 1)],
        run.scores.frame["image_name"].tolist(),
    )
    for fold, network in scorer.classifiers.items():
        held = (run.scores.frame["fold"] == fold).to_numpy()
        logits = network.classify(torch.from_numpy(found[held].astype(np.float32)))
        assert np.allclose(logits.detach(), scores.logits()[held], rtol=0.02, atol=0.02)
    assert not said
    for arrays in (None, base / "nowhere"):
        assert trained_array(run, arrays, watch=watch) is None
    assert len(said) == 1
    assert "nowhere" in said[0]


def test_an_embedding_beyond_half_precision_is_refused() -> None:
    class Loud:
        backend, folds = "loud", (0,)

        def outputs(self, squares: np.ndarray, *, views: int) -> Outputs:
            return Outputs(np.zeros((len(squares), 1, 1)), np.full((len(squares), 1, 2), 1e6, "f4"))

    class Rows:
        def rows(self, rows: np.ndarray) -> np.ndarray:
            return np.zeros((len(rows), 8, 8, 3), np.uint8)

    with pytest.raises(ScoreError, match="not a finite number"), np.errstate(over="ignore"):
        embed_held_out(lambda _: Loud(), Rows(), np.arange(3), np.zeros(3, int))  # type: ignore[arg-type,return-value]
