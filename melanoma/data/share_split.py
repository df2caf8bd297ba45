"""Two parts of stated shares, groups whole: every class has its share in both to within one image.

Where all images are groups of their own that always holds; larger groups, and those of several
classes, may leave no such split, and then each class comes as near as they let it.
"""

from __future__ import annotations

import numpy as np

from melanoma.types import Floats, Integers


def worst_share(part: Integers, target: Integers, share: float) -> float:
    """By how many images the class that is worst off misses its share in part 1."""
    sizes = np.bincount(target)
    caught = np.bincount(target[part == 1], minlength=len(sizes))
    return float(np.abs(caught - share * sizes).max())


def split_by_share(groups: Integers, target: Integers, share: float, *, seed: int) -> Integers:
    """(N,) of 0 and 1, the part of each row; part 1 has that share of every class.

    Rarest class first, its largest groups first, each to the part that has the fewest images for
    its share, among those in which no class then has more than its share rounded up. A class that
    one part would lack gives it its smallest group, where that is within one of its share.
    """
    groups = np.unique(groups, return_inverse=True)[1]
    count = int(groups.max()) + 1
    holds = np.zeros((count, int(target.max()) + 1), dtype=np.int64)
    np.add.at(holds, (groups, target), 1)
    sizes, shares = holds.sum(axis=0), np.array([1 - share, share])
    ceilings = np.ceil(np.outer(shares, sizes) - 1e-9)
    rarest_first = np.argsort(sizes, kind="stable")
    rank = np.argmax(holds[:, rarest_first] > 0, axis=1)
    held = holds[np.arange(count), rarest_first[rank]]
    shuffled = np.random.default_rng(seed).permutation(count)
    order = shuffled[np.lexsort((-holds.sum(axis=1)[shuffled], -held[shuffled], rank[shuffled]))]
    part, caught = np.zeros(count, dtype=np.int64), np.zeros_like(ceilings)
    for group in order:
        own, after = rarest_first[rank[group]], caught + holds[group]
        over = np.maximum(after - ceilings, 0).sum(axis=1)
        keys = (after[:, own] / shares, after.sum(axis=1) / shares, over)
        chosen = int(np.lexsort(keys)[0])
        part[group] = chosen
        caught[chosen] = after[chosen]
    _give_absent_classes(part, holds, shares)
    return part[groups]


def _give_absent_classes(part: Integers, holds: Integers, shares: Floats) -> None:
    """Move a class's smallest group into the part that lacks it, in place."""
    sizes = holds.sum(axis=0)
    for number in np.flatnonzero(sizes):
        for side in (0, 1):
            own = np.flatnonzero((holds[:, number] > 0) & (part != side))
            if holds[part == side, number].sum() or len(own) < 2:
                continue
            smallest = own[np.argmin(holds[own].sum(axis=1))]
            if (holds[smallest] <= shares[side] * sizes + 1).all():
                part[smallest] = side
