"""Embeddings and scores of held-out images, by the member that never saw them or by all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from melanoma.data.batches import RowSource
from melanoma.errors import ScoreError
from melanoma.scoring.members import Members
from melanoma.scoring.scorer import Scorer
from melanoma.types import Floats, Integers

HalfFloats: TypeAlias = npt.NDArray[np.float16]
_BATCH, _SCORED_AT_ONCE = 32, 64


def embed_held_out(
    member_of: Callable[[int], Members],
    source: RowSource,
    rows: npt.NDArray[np.int64],
    folds: npt.NDArray[np.int64],
    *,
    between: Callable[[int], None] = lambda done: None,
) -> HalfFloats:
    """(N, D) float16: the upright embedding of each of the source's `rows`, (N,), by the member
    of its fold in `folds`, (N,).

    `member_of` gives the Members of one fold alone, and is asked once a fold: one network is held
    at a time, and one batch of pixels. `between` is told of how many are done after each batch.
    Raises ScoreError for an embedding that is not finite, in half precision.
    """
    embeddings: HalfFloats | None = None
    done = 0
    for fold in np.unique(folds):
        member = member_of(int(fold))
        held = np.flatnonzero(folds == fold)
        for part in _batches(held):
            embedded = member.outputs(source.rows(rows[part]), views=1).embeddings[:, 0]
            if embeddings is None:
                embeddings = np.zeros((len(rows), embedded.shape[1]), np.float16)
            embeddings[part] = embedded
            done += len(part)
            between(done)
    if embeddings is None or not np.isfinite(embeddings).all():
        raise ScoreError("an embedding of a held-out image is not a finite number")
    return embeddings


def score_by_all(scorer: Scorer, source: RowSource, rows: Integers) -> Floats:
    """(N, K, C) probabilities of each of the source's `rows`, (N,), by every member, as they are
    served: the bundle's views and calibration. Raises ScoreError."""
    parts = _batches(rows, _SCORED_AT_ONCE)
    return np.concatenate([scorer.member_probabilities(source.rows(part)) for part in parts])


def _batches(rows: Integers, size: int = _BATCH) -> Sequence[Integers]:
    return np.array_split(rows, -(-len(rows) // size))
