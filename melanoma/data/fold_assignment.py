"""Which rows go into which fold: whole groups, every class by its share."""

from __future__ import annotations

import numpy as np
import pandas as pd

from melanoma.data.share_split import split_by_share, worst_share
from melanoma.errors import FoldError
from melanoma.recipe.sections import Folds
from melanoma.types import Floats, Integers


def require_enough(frame: pd.DataFrame, groups: Integers, rest: Integers, rules: Folds) -> None:
    """Raise FoldError unless the rows that are left have a group (a number in `groups`, one a row)
    of each class for each fold. The advice is one that works."""
    target, parts = frame["target"].to_numpy(), max(rules.k, 2)
    classes = max(2, int(target.max()) + 1)
    images = np.bincount(target[rest], minlength=classes)
    held = [len(set(groups[rest][target[rest] == number])) for number in range(classes)]
    if min(held) >= parts:
        return
    rarest = int(np.argmin(images if images.min() < parts else held))
    name = (*frame["label"][target == rarest].head(1).tolist(), f"class {rarest}")[0]
    besides = "" if len(rest) == len(frame) else " outside the test part"
    kind = "folds" if rules.k > 1 else "parts"
    what, has = "images", f"{images[rarest]}"
    if images[rarest] >= parts:
        what = "groups (a patient, a lesion and duplicates stay whole)"
        has = f"{held[rarest]}, of {images[rarest]} images"
    raise FoldError(
        f"{parts} {kind} need {parts} {what} of each class{besides}; {name!r} has {has}; "
        f"{_advice(groups[rest], target[rest], rules, classes=classes)}"
    )


def require_each_class(fold: Integers, groups: Integers, target: Integers, rules: Folds) -> None:
    """Raise FoldError where a fold has no row of some class: it could not be scored."""
    classes = np.unique(target)
    lacking = [f for f in range(rules.k) if len(np.unique(target[fold == f])) < len(classes)]
    if lacking:
        raise FoldError(
            f"whole groups leave {len(lacking)} of {rules.k} folds without one of the classes; "
            f"{_advice(groups, target, rules, classes=len(classes))}"
        )


def _advice(groups: Integers, target: Integers, rules: Folds, *, classes: int) -> str:
    """A number of folds that these groups can fill; where there is none, what is needed."""
    for k in range(rules.k - 1, 1, -1):
        if len(np.unique(groups)) < k:
            continue
        by_size = rules.stratify == "label_and_size"
        fold = assign_groups(groups, target, np.ones(k), seed=rules.seed, by_size=by_size)
        if all(len(np.unique(target[fold == f])) == classes for f in range(k)):
            return f"--set folds.k={k} works"
    return (
        "no number of folds works: each class must stand in at least two groups (more patients, or "
        "without that class)"
    )


def take_share(groups: Integers, target: Integers, share: float, *, seed: int) -> Integers:
    """Rows of that share of every class to within one image, as far as whole groups allow. Raises
    FoldError where one class has none."""
    part = assign_groups(groups, target, np.array([1 - share, share]), seed=seed)
    # Fold files that were right stay as they were; the last class had all others' rounding.
    if worst_share(part, target, share) > 1 or not _both_sides(part, target):
        other = split_by_share(groups, target, share, seed=seed)
        part = min(
            (part, other),
            key=lambda p: (not _both_sides(p, target), worst_share(p, target, share)),
        )
    if not _both_sides(part, target):
        raise FoldError(
            f"a share of {share:g} leaves one part without one of the classes: their groups "
            "are too few (another share, or another --seed for split)"
        )
    return np.flatnonzero(part == 1)


def _both_sides(part: Integers, target: Integers) -> bool:
    return set(target[part == 0]) == set(target[part == 1]) == set(target)


def assign_groups(
    groups: Integers, target: Integers, shares: Floats, *, seed: int, by_size: bool = False
) -> Integers:
    """Rarest class first, its largest groups first, each to the part that then has the fewest
    images of that class, then the fewest images, for its share.

    Longest-processing-time scheduling: the spread of a part is bounded by its last group. A group
    counts for the rarest class in it. `by_size` evens out, before the number of images, how many
    groups of each size (1, 2, 3 to 4, 5 to 8, ... images) a part has. Ties are broken by a seeded
    shuffle.
    """
    k = len(shares)
    # Numbered anew: some groups may be in the test part alone.
    groups = np.unique(groups, return_inverse=True)[1]
    count = int(groups.max()) + 1
    if count < k:
        raise FoldError(f"{k} folds need {k} groups; the table has {count}")
    rows = np.arange(count)
    size = np.bincount(groups, minlength=count)
    holds = np.zeros((count, max(int(target.max()) + 1, 2)), dtype=np.int64)
    np.add.at(holds, (groups, target), 1)
    classes = _rarest_first(holds.sum(axis=0))
    rank = np.argmax(holds[:, classes] > 0, axis=1)
    held = holds[rows, classes[rank]]
    shuffled = np.random.default_rng(seed).permutation(count)
    order = shuffled[np.lexsort((-size[shuffled], -held[shuffled], rank[shuffled]))]
    fold_of_group = np.empty(count, dtype=np.int64)
    images, caught = np.zeros(k), np.zeros((len(classes), k))
    step = np.ceil(np.log2(size)).astype(np.int64) if by_size else np.zeros(count, dtype=np.int64)
    alike = np.zeros((int(step.max()) + 1, k))
    for group in order:
        # Groups of nothing but the last class only even out the number of images.
        last = rank[group] == len(classes) - 1
        own = classes[rank[group]]
        keys = [(images + size[group]) / shares]
        keys += [(alike[step[group]] + 1) / shares] if by_size else []
        keys += [] if last else [(caught[own] + holds[group, own]) / shares]
        fold = int(np.lexsort(keys)[0])
        fold_of_group[group] = fold
        images[fold] += size[group]
        alike[step[group], fold] += 1
        caught[:, fold] += holds[group]
    return fold_of_group[groups]


def _rarest_first(sizes: Integers) -> Integers:
    """Class numbers by size; of two, the positives first, even where they are the most."""
    return np.array([1, 0]) if len(sizes) == 2 else np.argsort(sizes, kind="stable")
