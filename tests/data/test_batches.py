"""Batches: decided by a seed alone, whatever the workers and wherever training resumes."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from melanoma.data.array_build import build_array
from melanoma.data.arrays import ImageArray
from melanoma.data.augmentation import Augmentation
from melanoma.data.batches import (
    Batch,
    BatchLoader,
    Plan,
    draw_often,
    draw_order,
    load_batches,
    plan_epoch,
)
from melanoma.data.readers.reader_catalog import read_lesions
from melanoma.recipe.data_sections import SiimData
from melanoma.recipe.sections import Image, Sampler

ROWS = np.arange(100, 160)
TARGETS = (np.arange(60) % 7 == 0).astype(np.int64)
SHUFFLE = Sampler()


@pytest.fixture(scope="module")
def array(phantom_set: Path, tmp_path_factory: pytest.TempPathFactory) -> ImageArray:
    table = read_lesions(phantom_set, SiimData(reader="siim"))
    return build_array(table, tmp_path_factory.mktemp("arrays"), Image(size=32))


def plans(count: int = 60, batch_size: int = 16, accumulate: int = 1, seed: int = 1) -> list[Plan]:
    rows = np.arange(count)
    return plan_epoch(
        rows,
        np.zeros(count, np.int64),
        sampler=SHUFFLE,
        batch_size=batch_size,
        accumulate=accumulate,
        seed=(seed, 0, 0),
    )


def loaded(
    array: ImageArray, *, workers: int = 0, start: int = 0, seed: tuple[int, ...] = (1, 0, 0)
) -> list[Batch]:
    augmentation = Augmentation([{"flip_horizontal": {}}, {"shift_scale_rotate": {"p": 1}}])
    return list(
        load_batches(
            array,
            plans(batch_size=8, accumulate=2),
            workers=workers,
            start=start,
            augmentation=augmentation,
            seed=seed,
        )
    )


def require_equal(one: list[Batch], other: list[Batch]) -> None:
    assert len(one) == len(other)
    for ours, theirs in zip(one, other, strict=True):
        assert np.array_equal(ours.rows, theirs.rows)
        assert torch.equal(ours.pixels, theirs.pixels)
        assert (ours.share, ours.closes) == (theirs.share, theirs.closes)


def test_two_workers_give_the_batches_of_none(array: ImageArray) -> None:
    require_equal(loaded(array, workers=2), loaded(array))


@pytest.mark.parametrize("start", [0, 1, 5, 8])
def test_starting_at_a_batch_gives_the_tail_of_the_epoch(array: ImageArray, start: int) -> None:
    whole = loaded(array)
    assert len(whole) == 8
    require_equal(loaded(array, start=start), whole[start:])


def test_pixels_are_those_of_the_rows_that_the_batch_names(array: ImageArray) -> None:
    for batch in load_batches(array, plans(), workers=0):
        assert np.array_equal(batch.pixels.numpy(), array.rows(batch.rows))


def test_the_seed_decides_the_augmentation(array: ImageArray) -> None:
    first, again, other = loaded(array), loaded(array), loaded(array, seed=(2, 0, 0))
    require_equal(first, again)
    same = [torch.equal(a.pixels, b.pixels) for a, b in zip(first, other, strict=True)]
    assert not any(same)


def test_an_image_that_is_drawn_twice_looks_different_the_second_time(array: ImageArray) -> None:
    twice = [Plan(np.array([3, 3, 3])), Plan(np.array([3]))]
    augmentation = Augmentation([{"shift_scale_rotate": {"p": 1}}])
    batches = list(load_batches(array, twice, workers=0, augmentation=augmentation, seed=(1,)))
    seen = {image.numpy().tobytes() for batch in batches for image in batch.pixels}
    assert len(seen) == 4


@pytest.mark.parametrize("count", [1, 15, 16, 17, 60, 61, 64, 65, 97])
@pytest.mark.parametrize(("batch_size", "accumulate"), [(16, 1), (8, 2), (5, 3)])
def test_an_epoch_shows_every_row_once_in_groups_of_equal_size(
    count: int, batch_size: int, accumulate: int
) -> None:
    epoch = plans(count, batch_size, accumulate)
    assert sorted(row for plan in epoch for row in plan.rows) == list(range(count))
    groups: list[list[Plan]] = [[]]
    for plan in epoch:
        groups[-1].append(plan)
        if plan.closes:
            groups.append([])
    assert groups.pop() == []
    assert len(groups) == -(-count // (batch_size * accumulate))
    sizes = [sum(len(plan.rows) for plan in group) for group in groups]
    assert max(sizes) - min(sizes) <= 1
    for group in groups:
        assert len(group) <= accumulate
        assert all(1 <= len(plan.rows) <= batch_size for plan in group)
        assert sum(plan.share for plan in group) == pytest.approx(1)
        total = sum(len(plan.rows) for plan in group)
        assert [plan.share for plan in group] == [len(plan.rows) / total for plan in group]


def test_accumulated_batches_are_the_large_batch_in_pieces() -> None:
    whole, pieces = plans(60, 16, 1), plans(60, 4, 4)
    joined = [np.concatenate([p.rows for p in pieces[i : i + 4]]) for i in range(0, 16, 4)]
    for plan, rows in zip(whole, joined, strict=True):
        assert np.array_equal(plan.rows, rows)


def test_a_last_batch_of_one_image_does_not_occur() -> None:
    """BatchNorm cannot train on a single image."""
    for count in range(2, 80):
        assert min(len(plan.rows) for plan in plans(count, 4, 1)) >= 2


def test_epochs_and_folds_are_shuffled_differently_and_repeatably() -> None:
    orders = [
        tuple(draw_order(ROWS, TARGETS, sampler=SHUFFLE, seed=seed))
        for seed in ((1, 0, 0), (1, 0, 1), (1, 1, 0), (2, 0, 0), (1, 0, 0))
    ]
    assert orders[0] == orders[-1]
    assert len(set(orders)) == 4
    assert all(sorted(order) == ROWS.tolist() for order in orders)


@pytest.mark.parametrize("share", [0.15, 0.5, 0.8])
def test_the_balanced_sampler_draws_positives_at_their_share(share: float) -> None:
    sampler = Sampler(name="balanced", positive_share=share)
    positive = set(ROWS[TARGETS == 1])
    drawn = draw_order(ROWS, TARGETS, sampler=sampler, seed=(0,))
    assert len(drawn) == len(ROWS)
    assert sum(row in positive for row in drawn) == round(share * len(ROWS))


def test_the_balanced_sampler_shows_rows_of_a_class_equally_often() -> None:
    """A ten to one set: uniform over the rows of each class to within one (S3-3)."""
    rows = np.arange(1100)
    targets = (rows < 100).astype(np.int64)
    sampler = Sampler(name="balanced")
    counts: npt.NDArray[np.int64] = np.zeros(1100, np.int64)
    for epoch in range(40):
        drawn = draw_order(rows, targets, sampler=sampler, seed=(1, 0, epoch))
        once = np.bincount(drawn, minlength=1100)
        for part in (once[:100], once[100:]):
            assert np.ptp(part) <= 1
        counts += once
    assert counts[:100].sum() == counts[100:].sum() == 40 * 550
    # Which row gets the odd draw changes from epoch to epoch.
    assert np.ptp(counts[100:]) < 20
    assert counts[100:].min() > 0


def test_the_balanced_sampler_draws_several_classes_alike() -> None:
    """A 10 : 1 : 3 set: each class a third of the epoch, each row of it as often as any other."""
    targets = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [1000, 100, 300]))
    rows = np.arange(len(targets)) + 50
    totals: npt.NDArray[np.int64] = np.zeros(3, np.int64)
    for epoch in range(30):
        drawn = draw_order(rows, targets, sampler=Sampler(name="balanced"), seed=(1, 0, epoch))
        assert len(drawn) == 1400
        times = np.bincount(drawn - 50, minlength=1400)
        shown = np.array([times[targets == number].sum() for number in range(3)])
        assert np.ptp(shown) <= 1
        assert all(np.ptp(times[targets == number]) <= 1 for number in range(3))
        totals += shown
    # 1400 is no multiple of three: who gets one more is not always the same class.
    assert np.ptp(totals) < 15
    assert abs(totals / totals.mean() - 1).max() < 0.05


def test_a_balanced_epoch_is_mixed_and_repeatable_and_the_same_with_workers(
    array: ImageArray,
) -> None:
    targets = np.arange(60) % 7 % 3
    options = {"sampler": Sampler(name="balanced"), "batch_size": 16, "accumulate": 1}
    epoch = plan_epoch(np.arange(60), targets, seed=(1,), **options)  # type: ignore[arg-type]
    again = plan_epoch(np.arange(60), targets, seed=(1,), **options)  # type: ignore[arg-type]
    assert all(np.array_equal(a.rows, b.rows) for a, b in zip(epoch, again, strict=True))
    assert all(len(set(targets[plan.rows])) == 3 for plan in epoch)
    require_equal(
        list(load_batches(array, epoch, workers=2)), list(load_batches(array, epoch, workers=0))
    )


def test_a_source_of_little_weight_is_drawn_at_all() -> None:
    rows = np.arange(13)
    drawn = draw_often(rows, 0.03, np.random.default_rng(0))
    assert len(drawn) == 1 and drawn[0] in rows
    twice = draw_often(rows, 2.0, np.random.default_rng(0))
    assert np.bincount(twice).tolist() == [2] * 13


def test_workers_stay_from_pass_to_pass_and_end_when_the_loader_is_closed(
    array: ImageArray,
) -> None:
    loader = BatchLoader(
        array, workers=2, augmentation=Augmentation([{"flip_horizontal": {"p": 1}}])
    )
    four = [Plan(np.arange(n, n + 2)) for n in range(4)]
    first = [batch.pixels for batch in loader.load(four, seed=(1,))]
    at_work = {child.pid for child in multiprocessing.active_children()}
    # What stops a run is sent to its group, and must not stop its workers before it saved.
    assert os.getpgrp() not in {os.getpgid(pid) for pid in at_work if pid}
    plain = [batch.pixels for batch in loader.load(four)]
    again = loader.load(four, seed=(1,))
    assert torch.equal(next(again).pixels, first[0])  # left in its middle, as by an error
    assert [b.rows.tolist() for b in loader.load(four, start=2)] == [[2, 3], [3, 4]]
    assert {child.pid for child in multiprocessing.active_children()} == at_work
    assert torch.equal(plain[0], torch.from_numpy(array.rows(np.arange(2))))
    assert not torch.equal(plain[0], first[0])
    loader.load(four, seed=(1,))
    loader.close()
    assert not at_work & {child.pid for child in multiprocessing.active_children()}
