"""Each image's few nearest others by their fingerprints: candidates for a closer look.

Among some ten thousand images all are compared with all. Among more, where faiss is installed
(extra `[large]`), an inverted file is asked (Sivic and Zisserman 2003): the fingerprints are sorted
into cells by k-means, and an image is compared with those of the nearest cells alone. That time
grows as N times the root of N. `benchmarks/many_duplicates.py` measures what it misses.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any

import numpy as np

from melanoma.data.duplicates.fingerprints import (
    VIEWS,
    Fingerprints,
    Floats32,
    Squares,
    blocks_of,
    gray_squares,
    make_fingerprints,
    seen_as,
    whole_fingerprints,
)
from melanoma.data.images import Pixels
from melanoma.types import Integers, Progress

ALL_UP_TO = 20_000  # images that are compared with all: half a minute on two cores
NEIGHBORS = 8
WORTH_A_LOOK = 0.75  # cosine of two fingerprints
# Of an inverted file: cells for each root of the number of images, and how many are looked into.
_CELLS_A_ROOT, _LOOKED_INTO = 4, 12
_FOR_A_CELL = 64  # images that k-means is trained on
_BLOCK = 256


class Prints:
    """Fingerprints of some rows of squares: those of the whole images are kept, (N, D), the crops'
    and the gray levels made when they are asked for."""

    def __init__(self, squares: Squares, rows: Integers, progress: Progress) -> None:
        self._squares, self.rows = squares, rows
        blocks = blocks_of(rows)
        reported_blocks = progress(blocks, total=len(blocks), desc="fingerprints", unit="block")
        self.whole = whole_fingerprints(squares, reported_blocks)

    def __len__(self) -> int:
        return len(self.rows)

    def of(self, places: Integers) -> Fingerprints:
        """Everything of these places among the rows."""
        return make_fingerprints(self._squares, blocks_of(self.rows[places]))

    def greys(self, places: Integers) -> Pixels:
        """(n, 64, 64) gray levels of these places."""
        blocks = blocks_of(self.rows[places])
        return np.concatenate([gray_squares(self._squares.rows(block)) for block in blocks])


def find_neighbors(queries: Prints, gallery: Prints, *, same: bool, progress: Progress) -> Integers:
    """(pairs, 2): places of each query and of its nearest in the gallery, over all its windows and
    views. With `same` the two are one set, and of (a, b) and (b, a) the more alike is kept."""
    keep = min(NEIGHBORS, len(gallery) - same)
    if keep < 1 or not len(queries):
        return np.zeros((0, 2), np.int64)
    by_lists = len(gallery) > ALL_UP_TO and importlib.util.find_spec("faiss") is not None
    look = _by_lists if by_lists else _by_all
    candidates = list(look(queries, gallery, keep, same, progress))
    pairs = np.concatenate([pairs for pairs, _ in candidates]).astype(np.int64)
    scores = np.concatenate([scores for _, scores in candidates])
    return _once(pairs, scores) if same else pairs


def _by_all(
    queries: Prints, gallery: Prints, keep: int, same: bool, progress: Progress
) -> Iterator[tuple[Integers, Floats32]]:
    count, others = len(queries), len(gallery)
    size = max(32, min(512, 32_000_000 // others))
    target = np.ascontiguousarray(gallery.whole.T)
    many = others > ALL_UP_TO
    what = "neighbors (pip install 'melanoma[large]' is faster)" if many else "neighbors"
    starts = range(0, count, size)
    for start in progress(starts, total=len(starts), desc=what, unit="block"):
        crops = queries.of(np.arange(start, min(start + size, count))).crops
        best = np.full((crops.shape[1], others), -1, np.float32)
        cosine = np.empty_like(best)
        for crop in crops:
            for view in VIEWS:
                np.matmul(seen_as(crop, view), target, out=cosine)
                np.maximum(best, cosine, out=best)
        if same:
            own = np.arange(crops.shape[1])
            best[own, start + own] = -1
        nearest = np.argpartition(best, others - keep, axis=1)[:, others - keep :]
        near = np.take_along_axis(best, nearest, axis=1)
        query, place = np.nonzero(near >= WORTH_A_LOOK)
        pairs = np.column_stack([start + query, nearest[query, place]])
        yield pairs, near[query, place]


def _by_lists(
    queries: Prints, gallery: Prints, keep: int, same: bool, progress: Progress
) -> Iterator[tuple[Integers, Floats32]]:
    index, count = inverted_file(gallery.whole), len(queries)
    starts = range(0, count, _BLOCK)
    for start in progress(starts, total=len(starts), desc="neighbors", unit="block"):
        crops = queries.of(np.arange(start, min(start + _BLOCK, count))).crops
        seen = np.stack([seen_as(crops, view) for view in VIEWS])
        asked = np.ascontiguousarray(seen.reshape(-1, seen.shape[-1]))
        scores, places = index.search(asked, keep + same)
        query = np.tile(np.arange(crops.shape[1]), len(asked) // crops.shape[1])
        query = np.repeat(start + query, scores.shape[1])
        yield _best(query, places.ravel(), scores.ravel(), keep, same)


def inverted_file(whole: Floats32) -> Any:
    """faiss's index of (N, D) fingerprints, by their cosine."""
    import faiss

    count, width = whole.shape
    cells = max(1, int(_CELLS_A_ROOT * np.sqrt(count)))
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(width), width, cells, faiss.METRIC_INNER_PRODUCT)
    index.cp.seed, index.cp.max_points_per_centroid = 0, _FOR_A_CELL
    index.cp.min_points_per_centroid = 1
    index.train(whole)
    index.add(whole)
    index.nprobe = min(cells, _LOOKED_INTO)
    return index


def _best(
    query: Integers, place: Integers, score: Floats32, keep: int, same: bool
) -> tuple[Integers, Floats32]:
    """Of what all windows and views found: each pair once, and so many of a query."""
    eligible = (place >= 0) & (score >= WORTH_A_LOOK)
    if same:
        eligible &= place != query
    pairs, scores = np.column_stack([query, place])[eligible], score[eligible]
    order = np.argsort(-scores, kind="stable")
    _, first = np.unique(pairs[order], axis=0, return_index=True)
    once = order[first]
    ranked = once[np.lexsort((-scores[once], pairs[once, 0]))]
    owner = pairs[ranked, 0]
    rank = np.arange(len(owner)) - np.searchsorted(owner, owner)
    nearest = ranked[rank < keep]
    return pairs[nearest], scores[nearest]


def _once(pairs: Integers, scores: Floats32) -> Integers:
    """Of (a, b) and (b, a) the one that is more alike: a crop is cut from the other's whole."""
    order = np.argsort(-scores, kind="stable")
    _, first = np.unique(np.sort(pairs[order], axis=1), axis=0, return_index=True)
    return pairs[order[first]]
