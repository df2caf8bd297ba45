"""Near-duplicates: one photograph twice, re-saved, turned, mirrored or cropped.

Two steps. The fingerprints of every image and of six crops of it, in eight views each, are looked
up among those of all other images; the few nearest are candidates. Each candidate is then laid over
its neighbor at 64 px: an affine motion is fitted (Evangelidis and Psarakis, Parametric image
alignment using enhanced correlation coefficient maximization, PAMI 2008), and the correlation of
the finer detail of the two is the similarity. `benchmarks/near_duplicates.py` measures it on
planted pairs and on strangers.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from melanoma.data.array_build import silent
from melanoma.data.duplicates.alignment import Fit, Laid, lay_over, relation_of
from melanoma.data.duplicates.fingerprints import (
    VIEWS,
    Fingerprints,
    Floats32,
    Squares,
    blocks_of,
    make_fingerprints,
    seen_as,
)
from melanoma.types import Integers, Progress

# Of the settings here, in fingerprints.py and in alignment.py: pairs that another version found are
# not reused.
VERSION = 1
# Chosen on HAM10000 and SIIM's sample. Within each, strangers have 0.76 at most, and all but a few
# in a thousand planted copies lie above this. It was not chosen on pairs between the two: one of
# those 11 million has 0.781: two long moles on bare skin. Expect a rare false alarm of that kind.
THRESHOLD = 0.78

_NEIGHBORS = 8
_WORTH_A_LOOK = 0.75  # cosine of two fingerprints
_GUESSES = 3  # views and windows looked at for a candidate; the best of them is fitted


class NearPair(NamedTuple):
    """Two rows that show one photograph, how alike they are (to 1), and what was done to it."""

    first: int
    second: int
    similarity: float
    relation: str


def near_duplicates(
    squares: Squares,
    *,
    rows: Sequence[int] | None = None,
    threshold: float = THRESHOLD,
    progress: Progress = silent,
) -> list[NearPair]:
    """Pairs (first row < second row) of one photograph among `rows` (all), most alike first.

    Leave identical rows out of `rows`: they are alike to everything that one of them is alike to.
    Images with nothing to see are near no other. Memory: about 7 kB an image, and 200 MB.
    """
    looked = np.sort(np.arange(len(squares)) if rows is None else np.asarray(rows, np.int64))
    prints = make_fingerprints(squares, _blocks(looked, progress))
    found = _search(prints, prints, threshold=threshold, same=True, progress=progress)
    return _sorted({(int(looked[a]), int(looked[b])): fit for (a, b), fit in found.items()})


def near_duplicates_between(
    squares: Squares,
    others: Squares,
    *,
    rows: Sequence[int] | None = None,
    other_rows: Sequence[int] | None = None,
    threshold: float = THRESHOLD,
    progress: Progress = silent,
) -> list[NearPair]:
    """Pairs (row of `squares`, row of `others`) of one photograph, most alike first.

    `rows` and `other_rows` (all) are those that are looked at.
    """
    looked = np.arange(len(squares)) if rows is None else np.asarray(rows, dtype=np.int64)
    there = np.arange(len(others)) if other_rows is None else np.asarray(other_rows, np.int64)
    ours = make_fingerprints(squares, _blocks(looked, progress))
    theirs = make_fingerprints(others, _blocks(there, progress))
    found = _search(ours, theirs, threshold=threshold, same=False, progress=progress)
    # A crop finds what it was cut from only from the other side.
    back = _search(theirs, ours, threshold=threshold, same=False, progress=progress)
    for (b, a), fit in back.items():
        turned = fit._replace(view=fit.view.inverse)
        found[a, b] = max(found.get((a, b), turned), turned, key=lambda one: one.similarity)
    return _sorted({(int(looked[a]), int(there[b])): fit for (a, b), fit in found.items()})


def _blocks(rows: Integers, progress: Progress) -> list[Integers]:
    blocks = blocks_of(rows)
    return progress(blocks, total=len(blocks), desc="fingerprints", unit="block")  # type: ignore[return-value]


def _sorted(found: dict[tuple[int, int], Fit]) -> list[NearPair]:
    pairs = [NearPair(a, b, fit.similarity, relation_of(fit)) for (a, b), fit in found.items()]
    return sorted(pairs, key=lambda pair: (-pair.similarity, pair.first, pair.second))


def _search(
    queries: Fingerprints,
    gallery: Fingerprints,
    *,
    threshold: float,
    same: bool,
    progress: Progress,
) -> dict[tuple[int, int], Fit]:
    candidates = _neighbors(queries, gallery, same=same, progress=progress)
    blocks = [candidates[start : start + 1024] for start in range(0, len(candidates), 1024)]
    found: dict[tuple[int, int], Fit] = {}
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for block in progress(blocks, total=len(blocks), desc="compare", unit="block"):
            fits = _compare(queries, gallery, block, pool)
            for (one, other), fit in zip(block.tolist(), fits, strict=True):
                if fit is None or fit.similarity < threshold:
                    continue
                if same and one > other:
                    one, other = other, one
                    fit = fit._replace(view=fit.view.inverse)
                if (one, other) not in found or found[one, other].similarity < fit.similarity:
                    found[one, other] = fit
    return found


def _neighbors(
    queries: Fingerprints, gallery: Fingerprints, *, same: bool, progress: Progress
) -> Integers:
    """(pairs, 2): each query's nearest in the gallery, over all its windows and views."""
    count, others = queries.whole.shape[0], gallery.whole.shape[0]
    keep = min(_NEIGHBORS, others - same)
    if keep < 1 or not count:
        return np.zeros((0, 2), np.int64)
    size = max(32, min(512, 32_000_000 // others))
    target = np.ascontiguousarray(gallery.whole.T)
    pairs, scores = [], []
    starts = range(0, count, size)
    for start in progress(starts, total=len(starts), desc="neighbors", unit="block"):
        part = queries.crops[:, start : start + size]
        best = np.full((part.shape[1], others), -1, np.float32)
        cosine = np.empty_like(best)
        for crop in part:
            for view in VIEWS:
                np.matmul(seen_as(crop, view), target, out=cosine)
                np.maximum(best, cosine, out=best)
        if same:
            own = np.arange(part.shape[1])
            best[own, start + own] = -1
        nearest = np.argpartition(best, others - keep, axis=1)[:, others - keep :]
        near = np.take_along_axis(best, nearest, axis=1)
        query, place = np.nonzero(near >= _WORTH_A_LOOK)
        pairs.append(np.column_stack([start + query, nearest[query, place]]))
        scores.append(near[query, place])
    found = np.concatenate(pairs).astype(np.int64)
    return _once(found, np.concatenate(scores)) if same else found


def _once(pairs: Integers, scores: Floats32) -> Integers:
    """Of (a, b) and (b, a) the one that is more alike: a crop is cut from the other's whole."""
    order = np.argsort(-scores, kind="stable")
    _, first = np.unique(np.sort(pairs[order], axis=1), axis=0, return_index=True)
    return pairs[order[first]]


def _compare(
    queries: Fingerprints, gallery: Fingerprints, pairs: Integers, pool: ThreadPoolExecutor
) -> list[Fit | None]:
    """Each candidate laid over its neighbor, in the views and windows that fit best."""
    crops = queries.crops[:, pairs[:, 0]]
    target = gallery.whole[pairs[:, 1]]
    scores = np.stack([(seen_as(crops, view) * target).sum(axis=2) for view in VIEWS])
    guesses = np.argsort(-scores.reshape(-1, len(pairs)), axis=0, kind="stable")[:_GUESSES].T
    laid = {
        side: {int(row): Laid.of(prints.grey[row]) for row in np.unique(pairs[:, side])}
        for side, prints in ((0, queries), (1, gallery))
    }

    def look(place: int) -> Fit | None:
        one, other = pairs[place].tolist()
        return lay_over(laid[0][one], laid[1][other], guesses[place].tolist())

    return list(pool.map(look, range(len(pairs))))
