"""Batches: which images in which order, decided by a seed, the same with any number of workers."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset

from melanoma.data.transforms import Augmentation
from melanoma.recipe.sections import Sampler

Rows = npt.NDArray[np.int64]


class RowSource(Protocol):
    """What batches are made of: an ImageArray's pixels, or the embeddings of them."""

    def rows(self, rows: Rows) -> npt.NDArray[Any]:
        """The named rows, copied."""


class Batch(NamedTuple):
    """`pixels` (B, S, S, 3) uint8, or embeddings (B, D) float32, and the `rows` they came from.

    `share` is the batch's part of its accumulation group, in (0, 1]; `closes` marks its last.
    """

    pixels: torch.Tensor
    rows: Rows
    share: float
    closes: bool

    @property
    def embedded(self) -> bool:
        """Whether a backbone has seen these images already."""
        return self.pixels.ndim == 2


class Plan(NamedTuple):
    """One batch to come: rows of the array, share and end of the accumulation group."""

    rows: Rows
    share: float = 1.0
    closes: bool = True


def plan_epoch(
    rows: Rows,
    targets: Rows,
    *,
    sampler: Sampler,
    batch_size: int,
    accumulate: int,
    seed: Sequence[int],
) -> list[Plan]:
    """The batches of one epoch. `targets` are those of `rows`.

    Groups of at most batch_size * accumulate images are made equal in size to within one, so no
    ragged last batch feeds BatchNorm a single image; each group is cut into `accumulate` batches.
    """
    order = draw_order(rows, targets, sampler=sampler, seed=seed)
    count = math.ceil(len(order) / (batch_size * accumulate))
    plans = []
    for group in np.array_split(order, count):
        parts = np.array_split(group, min(accumulate, len(group)))
        for number, part in enumerate(parts, start=1):
            plans.append(Plan(part, len(part) / len(group), closes=number == len(parts)))
    return plans


def draw_order(rows: Rows, targets: Rows, *, sampler: Sampler, seed: Sequence[int]) -> Rows:
    """As many rows as given: each once, shuffled; or drawn so that classes have their shares.

    Balanced: of targets 0 and 1, positives have `positive_share`; more classes have equal shares.
    """
    rng = np.random.default_rng(list(seed))
    if sampler.name == "shuffle":
        return rng.permutation(rows)
    classes = np.unique(targets)
    if classes.max() <= 1:
        positives = round(sampler.positive_share * len(rows))
        wanted = {1: positives, 0: len(rows) - positives}
    else:
        # Whole numbers do not come out even: which classes get one more is drawn each epoch.
        parts = np.array_split(rows, len(classes))
        wanted = {int(c): len(p) for c, p in zip(rng.permutation(classes), parts, strict=True)}
    drawn = [_draw(rows[targets == number], count, rng) for number, count in wanted.items()]
    return rng.permutation(np.concatenate(drawn))


def load_batches(
    array: RowSource,
    plans: Sequence[Plan],
    *,
    workers: int,
    start: int = 0,
    augmentation: Augmentation | None = None,
    seed: Sequence[int] = (),
) -> Iterator[Batch]:
    """The planned batches from `start` on, the same whatever the number of workers."""
    dataset = _PlannedBatches(array, plans, start, augmentation, tuple(seed))
    loader = DataLoader(
        dataset,
        batch_size=None,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        pin_memory=torch.cuda.is_available(),
        multiprocessing_context="fork" if workers else None,
        # A loader draws a seed when it starts. From torch's own generator, that would shift the
        # dropout of an epoch that is resumed in its middle.
        generator=torch.Generator(),
    )
    for pixels, position in loader:
        yield Batch(pixels, *plans[position])


def resolve_workers(workers: int | str, device: torch.device) -> int:
    """Worker processes for `auto`: on a CPU none, since they would take the cores that train."""
    if isinstance(workers, int):
        return workers
    return min(8, os.cpu_count() or 1) if device.type == "cuda" else 0


class _PlannedBatches(Dataset[tuple[torch.Tensor, int]]):
    def __init__(
        self,
        array: RowSource,
        plans: Sequence[Plan],
        start: int,
        augmentation: Augmentation | None,
        seed: tuple[int, ...],
    ) -> None:
        self.array, self.plans, self.start = array, plans, start
        self.augmentation, self.seed = augmentation, seed

    def __len__(self) -> int:
        return len(self.plans) - self.start

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        position = self.start + index
        if position >= len(self.plans):
            raise IndexError(index)
        rows = self.plans[position].rows
        pixels = self.array.rows(rows)
        if self.augmentation is not None:
            # A row that is drawn twice in an epoch must look different the second time.
            keys = [(*self.seed, int(row), position, i) for i, row in enumerate(rows)]
            seeds = [int(np.random.SeedSequence(key).generate_state(1)[0]) for key in keys]
            pixels = np.stack(
                [
                    self.augmentation(image, seed=seed)
                    for image, seed in zip(pixels, seeds, strict=True)
                ]
            )
        return torch.from_numpy(pixels), position


def _draw(rows: Rows, count: int, rng: np.random.Generator) -> Rows:
    """`count` rows: every row as often as any other to within one."""
    repeats, rest = divmod(count, len(rows))
    return np.concatenate([np.tile(rows, repeats), rng.choice(rows, rest, replace=False)])
