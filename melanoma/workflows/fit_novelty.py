"""The novelty score of a run, fitted on the held-out images of its finished folds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from melanoma.devices import resolve_device
from melanoma.evaluation.report.schema_points import NoveltyLine, NoveltySummary
from melanoma.scoring.novelty import MINIMUM, SHARE, HeldOutNovelty, Novelty, fit_novelty
from melanoma.scoring.square_statistics import square_statistics
from melanoma.workflows.embed_held_out import embed_finished, trained_array
from melanoma.workflows.finished import FinishedFolds
from melanoma.workflows.watch import Watch

_BATCH = 256


@dataclass(frozen=True)
class RunNovelty:
    """What is sealed, and what the report says of it."""

    novelty: Novelty
    summary: NoveltySummary


def fit_run_novelty(
    trained: FinishedFolds, arrays: Path | None, *, seed: int | None, watch: Watch
) -> RunNovelty | None:
    """None, and a note that says why, where the array of the folds is not in `arrays`, or their
    held-out lesions are fewer than MINIMUM."""
    groups = trained.scores.groups
    if len(np.unique(groups)) < MINIMUM:
        watch.say(f"note: no novelty score: it needs {MINIMUM} held-out lesions or patients")
        return None
    array = trained_array(trained, arrays, watch=watch)
    if array is None:
        return None
    frame = trained.scores.frame
    embeddings = embed_finished(trained, array, device=resolve_device("auto"))
    rows = np.array([array.row_of[name] for name in frame["image_name"]], dtype=np.int64)
    parts = np.array_split(rows, -(-len(rows) // _BATCH))
    held_out = fit_novelty(
        embeddings,
        np.concatenate([square_statistics(array.rows(part)) for part in parts]),
        frame["fold"].to_numpy(np.int64),
        groups,
        seed=trained.recipe.seed if seed is None else seed,
    )
    assert held_out is not None, "there are lesions enough"
    labels = np.array(trained.recipe.classes)[trained.scores.target]
    return RunNovelty(held_out.novelty, summarize_novelty(held_out, labels, groups))


def summarize_novelty(
    held_out: HeldOutNovelty, labels: np.ndarray, groups: np.ndarray
) -> NoveltySummary:
    """What the score does to the held-out images, by class, sorted by name."""
    novel = held_out.scores >= held_out.novelty.threshold
    lines = [
        NoveltyLine(
            name=str(name),
            images=int((labels == name).sum()),
            novel=int(novel[labels == name].sum()),
        )
        for name in np.unique(labels)
    ]
    return NoveltySummary(
        threshold=held_out.novelty.threshold,
        share=SHARE,
        groups=len(np.unique(groups)),
        by_class=tuple(lines),
    )
