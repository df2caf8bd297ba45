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
from melanoma.data.duplicates.fingerprints import VIEWS, Squares, seen_as
from melanoma.data.duplicates.neighbors import Prints, find_neighbors
from melanoma.types import Integers, Progress

# Of the settings here, in fingerprints.py and in alignment.py: pairs that another version found are
# not reused.
VERSION = 2
# Chosen on HAM10000 and SIIM's sample. Within each, strangers have 0.76 at most, and all but a few
# in a thousand planted copies lie above this. It was not chosen on pairs between the two: one of
# those 11 million has 0.781: two long moles on bare skin. Expect a rare false alarm of that kind.
THRESHOLD = 0.78

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
    Images with nothing to see are near no other. Memory: about 0.4 kB an image (0.8 above
    neighbors.ALL_UP_TO images), and 200 MB.
    """
    looked = np.sort(np.arange(len(squares)) if rows is None else np.asarray(rows, np.int64))
    prints = Prints(squares, looked, progress)
    fits = _search(prints, prints, threshold=threshold, same=True, progress=progress)
    return _sorted({(int(looked[a]), int(looked[b])): fit for (a, b), fit in fits.items()})


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
    ours, theirs = Prints(squares, looked, progress), Prints(others, there, progress)
    fits = _search(ours, theirs, threshold=threshold, same=False, progress=progress)
    # A crop finds what it was cut from only from the other side.
    back = _search(theirs, ours, threshold=threshold, same=False, progress=progress)
    for (b, a), fit in back.items():
        turned = fit._replace(view=fit.view.inverse)
        fits[a, b] = max(fits.get((a, b), turned), turned, key=lambda one: one.similarity)
    return _sorted({(int(looked[a]), int(there[b])): fit for (a, b), fit in fits.items()})


def _sorted(fits: dict[tuple[int, int], Fit]) -> list[NearPair]:
    pairs = [NearPair(a, b, fit.similarity, relation_of(fit)) for (a, b), fit in fits.items()]
    return sorted(pairs, key=lambda pair: (-pair.similarity, pair.first, pair.second))


def _search(
    queries: Prints,
    gallery: Prints,
    *,
    threshold: float,
    same: bool,
    progress: Progress,
) -> dict[tuple[int, int], Fit]:
    candidates = find_neighbors(queries, gallery, same=same, progress=progress)
    blocks = [candidates[start : start + 1024] for start in range(0, len(candidates), 1024)]
    best: dict[tuple[int, int], Fit] = {}
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for block in progress(blocks, total=len(blocks), desc="compare", unit="block"):
            fits = _compare(queries, gallery, block, pool)
            for (one, other), fit in zip(block.tolist(), fits, strict=True):
                if fit is None or fit.similarity < threshold:
                    continue
                if same and one > other:
                    one, other = other, one
                    fit = fit._replace(view=fit.view.inverse)
                if (one, other) not in best or best[one, other].similarity < fit.similarity:
                    best[one, other] = fit
    return best


def _compare(
    queries: Prints, gallery: Prints, pairs: Integers, pool: ThreadPoolExecutor
) -> list[Fit | None]:
    """Each candidate laid over its neighbor, in the views and windows that fit best."""
    ones, one = np.unique(pairs[:, 0], return_inverse=True)
    others, other = np.unique(pairs[:, 1], return_inverse=True)
    here = queries.of(ones)
    crops, target = here.crops[:, one], gallery.whole[pairs[:, 1]]
    scores = np.stack([(seen_as(crops, view) * target).sum(axis=2) for view in VIEWS])
    guesses = np.argsort(-scores.reshape(-1, len(pairs)), axis=0, kind="stable")[:_GUESSES].T
    laid_here, laid_there = (
        list(pool.map(Laid.of, greys)) for greys in (here.grey, gallery.greys(others))
    )

    def look(place: int) -> Fit | None:
        return lay_over(laid_here[one[place]], laid_there[other[place]], guesses[place].tolist())

    return list(pool.map(look, range(len(pairs))))
