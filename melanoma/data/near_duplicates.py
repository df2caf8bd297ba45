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

import cv2
import numpy as np
import numpy.typing as npt

from melanoma.data.array_making import Progress, silent
from melanoma.data.fingerprints import (
    SIDE,
    VIEWS,
    WINDOWS,
    Fingerprints,
    Floats,
    Ints,
    Squares,
    View,
    blocks_of,
    flatten_light,
    make_fingerprints,
    seen_as,
)

# Of the settings below and in fingerprints.py; pairs that another version found are not reused.
VERSION = 1
# Between the strangers (at most 0.76 among 10,015 photographs) and JPEG's quality 30 (from 0.80).
THRESHOLD = 0.78

_NEIGHBORS = 8
_WORTH_A_LOOK = 0.75  # cosine of two fingerprints
_WORTH_FITTING = 0.30  # correlation before the motion is fitted
_GUESSES = 3  # views and windows looked at for a candidate; the best of them is fitted
_BORDER = 3  # pixels that a crop's edge may spoil
_STEPS = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 25, 1e-3)


class NearPair(NamedTuple):
    """Two rows that show one photograph, how alike they are (to 1), and what was done to it."""

    first: int
    second: int
    similarity: float
    relation: str


class _Fit(NamedTuple):
    similarity: float
    view: View
    motion: Floats


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


def _blocks(rows: Ints, progress: Progress) -> list[Ints]:
    blocks = blocks_of(rows)
    return progress(blocks, total=len(blocks), desc="fingerprints", unit="block")  # type: ignore[return-value]


def _sorted(found: dict[tuple[int, int], _Fit]) -> list[NearPair]:
    pairs = [NearPair(a, b, fit.similarity, _relation(fit)) for (a, b), fit in found.items()]
    return sorted(pairs, key=lambda pair: (-pair.similarity, pair.first, pair.second))


def _search(
    queries: Fingerprints,
    gallery: Fingerprints,
    *,
    threshold: float,
    same: bool,
    progress: Progress,
) -> dict[tuple[int, int], _Fit]:
    candidates = _neighbors(queries, gallery, same=same, progress=progress)
    blocks = [candidates[start : start + 1024] for start in range(0, len(candidates), 1024)]
    found: dict[tuple[int, int], _Fit] = {}
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
) -> Ints:
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


def _once(pairs: Ints, scores: Floats) -> Ints:
    """Of (a, b) and (b, a) the one that is more alike: a crop is cut from the other's whole."""
    order = np.argsort(-scores, kind="stable")
    _, first = np.unique(np.sort(pairs[order], axis=1), axis=0, return_index=True)
    return pairs[order[first]]


def _compare(
    queries: Fingerprints, gallery: Fingerprints, pairs: Ints, pool: ThreadPoolExecutor
) -> list[_Fit | None]:
    """Each candidate laid over its neighbor, in the views and windows that fit best."""
    crops = queries.crops[:, pairs[:, 0]]
    target = gallery.whole[pairs[:, 1]]
    scores = np.stack([(seen_as(crops, view) * target).sum(axis=2) for view in VIEWS])
    guesses = np.argsort(-scores.reshape(-1, len(pairs)), axis=0, kind="stable")[:_GUESSES].T
    laid = {
        side: {int(row): _Laid.of(prints.grey[row]) for row in np.unique(pairs[:, side])}
        for side, prints in ((0, queries), (1, gallery))
    }

    def look(place: int) -> _Fit | None:
        one, other = pairs[place].tolist()
        return _lay_over(laid[0][one], laid[1][other], guesses[place].tolist())

    return list(pool.map(look, range(len(pairs))))


class _Laid(NamedTuple):
    """An image's grey levels, its shapes (to fit a motion to) and its detail (to compare)."""

    grey: Floats
    shapes: Floats
    detail: Floats

    @classmethod
    def of(cls, levels: npt.NDArray[np.uint8]) -> _Laid:
        grey = levels.astype(np.float32)
        shapes = flatten_light(cv2.GaussianBlur(grey, (0, 0), 0.7), reach=3, floor=4)
        return cls(grey, shapes, _detail(grey))


def _detail(grey: Floats) -> Floats:
    # Blurred first: the finest that JPEG leaves is its own. Then a short reach and a low floor: two
    # round moles on bare skin have the same outline, and only what is inside tells them apart.
    return flatten_light(cv2.GaussianBlur(grey, (0, 0), 1.0), reach=2, floor=2)


def _lay_over(image: _Laid, target: _Laid, guesses: list[int]) -> _Fit | None:
    """How `target` comes out of `image`; None where no guess is worth fitting."""
    best, view, motion = -1.0, VIEWS[0], _motion_of(WINDOWS[0])
    for guess in guesses:
        seen, window = VIEWS[guess // len(WINDOWS)], WINDOWS[guess % len(WINDOWS)]
        moved = _motion_of(seen.window(window))
        alike = _correlation(_moved(seen.of(image.shapes), moved), target.shapes)
        if alike > best:
            best, view, motion = alike, seen, moved
    if best < _WORTH_FITTING:
        return None
    motion = _fitted(view.of(image.shapes), target.shapes, motion)
    detail = _detail(_moved(view.of(image.grey), motion))
    return _Fit(_correlation(detail, target.detail), view, motion)


def _fitted(image: Floats, target: Floats, motion: Floats) -> Floats:
    """The motion that lays `image` over `target` best; as it was where there is none."""
    try:
        # OpenCV's stubs forget that there may be no mask.
        _, fitted = cv2.findTransformECC(  # type: ignore[call-overload]
            target, image, motion.copy(), cv2.MOTION_AFFINE, _STEPS, None, 3
        )
    except cv2.error:
        return motion  # it did not converge
    return fitted.astype(np.float32, copy=False) if _is_plain(fitted) else motion


def _motion_of(window: tuple[float, float, float]) -> Floats:
    """(2, 3): from a pixel of the target to the pixel of the image that it shows."""
    top, left, share = window
    edge = (share - 1) / 2
    return np.array(
        [[share, 0, left * SIDE + edge], [0, share, top * SIDE + edge]], dtype=np.float32
    )


def _is_plain(motion: Floats) -> bool:
    """A crop of one photograph neither shears, nor turns, nor grows."""
    scales, turns = (motion[0, 0], motion[1, 1]), (motion[0, 1], motion[1, 0])
    return all(0.7 < s < 1.1 for s in scales) and all(abs(t) < 0.08 for t in turns)


def _moved(image: Floats, motion: Floats) -> Floats:
    return cv2.warpAffine(
        image,
        motion,
        (SIDE, SIDE),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT,
    ).astype(np.float32, copy=False)


def _correlation(one: Floats, other: Floats) -> float:
    inner = slice(_BORDER, -_BORDER)
    a, b = one[inner, inner].ravel(), other[inner, inner].ravel()
    a, b = a - a.mean(), b - b.mean()
    length = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / length if length > 1e-3 else 0.0


_TURNS = {
    (False, False, False): "",
    (False, False, True): "mirrored",
    (False, True, False): "mirrored and rotated 180",
    (False, True, True): "rotated 180",
    (True, False, False): "mirrored and rotated 270",
    (True, False, True): "rotated 90",
    (True, True, False): "rotated 270",
    (True, True, True): "mirrored and rotated 90",
}


def _relation(fit: _Fit) -> str:
    """What was done to the first to get the second (or, where it was cropped, the reverse)."""
    share = float(np.sqrt(abs(fit.motion[0, 0] * fit.motion[1, 1])))
    crop = f"cropped to {share:.0%}".replace("%", " %") if share < 0.985 else ""
    return ", ".join(part for part in (_TURNS[fit.view], crop) if part) or "re-saved"
