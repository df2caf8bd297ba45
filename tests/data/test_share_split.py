"""A share is the share of every class, to within one image."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from fold_tables import held, lesions

from melanoma.data.folds import FoldTable, make_folds
from melanoma.data.share_split import split_by_share, worst_share


def _deviations(folds: FoldTable, inside: pd.Series, share: float) -> np.ndarray:
    sizes = folds.whole.groupby("target").size()
    caught = folds.whole[inside].groupby("target").size().reindex(sizes.index, fill_value=0)
    return np.abs(caught - share * sizes).to_numpy()


def test_of_23_equal_classes_none_takes_the_others_rounding() -> None:
    for size in (17, 23):
        target = np.repeat(np.arange(23), size)
        folds = make_folds(
            lesions(target, [f"p{n}" for n in range(len(target))]), held(holdout=0.2)
        )
        inside = folds.whole["fold"] == -2
        assert _deviations(folds, inside, 0.2).max() <= 1
        # The rounding of many classes does not add up either.
        assert abs(inside.sum() - 0.2 * len(target)) <= 1


@pytest.mark.parametrize("share", [0.05, 0.2, 0.37, 0.5, 0.9])
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("single", [True, False])
def test_every_class_keeps_its_share_to_within_one(share: float, seed: int, single: bool) -> None:
    rng = np.random.default_rng(seed)
    classes = np.arange(rng.integers(2, 25))
    # Two images of each class are needed beside the test part, for two folds.
    target = np.repeat(classes, rng.integers(5 if single or share < 0.5 else 30, 60, len(classes)))
    table = lesions(target, [f"p{n}" for n in range(len(target))])
    rules = held(k=1, validation=share) if single else held(k=2, holdout=share)
    folds = make_folds(table, rules)
    inside = folds.whole["fold"] == (0 if single else -2)
    assert _deviations(folds, inside, share).max() <= 1 + 1e-9


@pytest.mark.parametrize("seed", range(6))
def test_groups_stay_whole_and_small_ones_mend_what_large_ones_leave(seed: int) -> None:
    """Groups of one class, of up to six images, with some of one image among each."""
    rng = np.random.default_rng(seed)
    target: list[int] = []
    group: list[str] = []
    for number in range(int(rng.integers(3, 12))):
        for size in [*rng.integers(1, 7, 12), *([1] * 12)]:
            target += [number] * int(size)
            group += [f"g{number}_{len(group)}"] * int(size)
    order = rng.permutation(len(target))
    table = lesions(np.array(target)[order], np.array(group)[order].tolist())
    folds = make_folds(table, held(k=2, holdout=0.2, seed=seed))
    inside = folds.whole["fold"] == -2
    assert not set(folds.whole["patient_id"][inside]) & set(folds.whole["patient_id"][~inside])
    assert _deviations(folds, inside, 0.2).max() <= 1


@pytest.mark.parametrize("size", [3, 4, 5, 6])
def test_a_small_tree_of_folders_is_split_and_not_refused(size: int) -> None:
    target = np.repeat(np.arange(20), size)
    folds = make_folds(
        lesions(target, [f"p{n}" for n in range(len(target))]), held(k=2, holdout=0.2)
    )
    inside = folds.whole["fold"] == -2
    assert set(folds.whole["target"][inside]) == set(range(20))
    assert _deviations(folds, inside, 0.2).max() <= 1


def test_groups_of_several_classes_come_no_worse_than_before() -> None:
    rng = np.random.default_rng(3)
    target = rng.choice(6, 900, p=[0.5, 0.2, 0.1, 0.1, 0.06, 0.04])
    groups = rng.integers(0, 300, 900)
    part = split_by_share(groups, target, 0.2, seed=0)
    assert all(len(set(part[groups == group])) == 1 for group in set(groups))
    assert worst_share(part, target, 0.2) <= 3


def test_one_seed_gives_one_split_whatever_stands_first() -> None:
    target = np.repeat(np.arange(7), 13)
    groups = np.arange(len(target))
    first = split_by_share(groups, target, 0.2, seed=4)
    assert (first == split_by_share(groups + 100, target, 0.2, seed=4)).all()
    assert (first != split_by_share(groups, target, 0.2, seed=5)).any()
