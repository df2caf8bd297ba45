"""Batches: which images in which order, decided by a seed, the same with any number of workers."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from melanoma.data.loader_workers import PREFETCH, fit_workers, named_worker_errors
from melanoma.data.transforms import send
from melanoma.recipe.sections import Sampler
from melanoma.types import Integers

if TYPE_CHECKING:
    from melanoma.data.augmentation import Augmentation
    from melanoma.data.device_augmentation.drawn_steps import DrawnSteps


class RowSource(Protocol):
    """What batches are made of: an ImageArray's pixels, or the embeddings of them."""

    def rows(self, rows: Integers) -> npt.NDArray[Any]:
        """The named rows, copied."""


class Batch(NamedTuple):
    """`pixels` (B, S, S, 3) uint8, or embeddings (B, D) float32, and the `rows` they came from.

    `share` is how much its mean loss counts in its accumulation group; `closes` marks its last. Of
    a batch that several processes share, it is one's part: `whole` are the images of all parts.
    `wanted` are its targets where the rows alone do not tell them, `drawn` the augmentation that is
    left for the device.
    """

    pixels: torch.Tensor
    rows: Integers
    share: float
    closes: bool
    whole: int | None = None
    wanted: torch.Tensor | None = None
    drawn: DrawnSteps | None = None

    @property
    def alone(self) -> bool:
        """Whether it is an accumulation group by itself."""
        return self.closes and self.share == 1.0

    @property
    def images(self) -> int:
        """Images of the batch, those of the other processes with them."""
        return len(self.rows) if self.whole is None else self.whole

    @property
    def part(self) -> float:
        """The share of those images that is here, in (0, 1]."""
        return len(self.rows) / self.images

    @property
    def embedded(self) -> bool:
        """Whether a backbone has seen these images already."""
        return self.pixels.ndim == 2


class Plan(NamedTuple):
    """One batch to come: rows of the array, share and end of the accumulation group.

    Of a batch that several processes share, `first` is the place of the first row in the whole one,
    which has `whole` images.
    """

    rows: Integers
    share: float = 1.0
    closes: bool = True
    first: int = 0
    whole: int | None = None


def plan_epoch(
    rows: Integers,
    targets: Integers,
    *,
    sampler: Sampler,
    batch_size: int,
    accumulate: int,
    seed: Sequence[int],
) -> list[Plan]:
    """The batches of one epoch. `targets` are those of `rows`."""
    order = draw_order(rows, targets, sampler=sampler, seed=seed)
    return cut_order(order, batch_size=batch_size, accumulate=accumulate)


def cut_order(order: Integers, *, batch_size: int, accumulate: int) -> list[Plan]:
    """The batches of an epoch whose rows are drawn already.

    Groups of at most batch_size * accumulate images are made equal in size to within one, so no
    ragged last batch feeds BatchNorm a single image; each group is cut into `accumulate` batches.
    """
    count = math.ceil(len(order) / (batch_size * accumulate))
    plans = []
    for group in np.array_split(order, count):
        parts = np.array_split(group, min(accumulate, len(group)))
        for number, part in enumerate(parts, start=1):
            plans.append(Plan(part, len(part) / len(group), closes=number == len(parts)))
    return plans


def draw_order(
    rows: Integers, targets: Integers, *, sampler: Sampler, seed: Sequence[int]
) -> Integers:
    """As many rows as given: each once, shuffled; or drawn so that classes have their shares.

    Balanced: of targets 0 and 1, positives have `positive_share`; more classes have equal shares.
    """
    rng = np.random.default_rng(list(seed))
    if sampler.name == "shuffle":
        return rng.permutation(rows)
    classes = np.unique(targets)
    if classes.max() <= 1:
        positives = round(sampler.positive_share * len(rows))
        counts = {1: positives, 0: len(rows) - positives}
    else:
        # Whole numbers do not come out even: which classes get one more is drawn each epoch.
        parts = np.array_split(rows, len(classes))
        counts = {int(c): len(p) for c, p in zip(rng.permutation(classes), parts, strict=True)}
    drawn = [_draw(rows[targets == number], count, rng) for number, count in counts.items()]
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
    loader = BatchLoader(array, workers=workers, augmentation=augmentation)
    try:
        yield from loader.load(plans, start=start, seed=seed)
    finally:
        loader.close()


def augment_batches(batches: Iterable[Batch], device: torch.device) -> Iterator[Batch]:
    """The batches; those that are augmented by the device lie there, and are."""
    for batch in batches:
        if batch.drawn is None:
            yield batch
        else:
            pixels = batch.drawn.apply(send(batch.pixels, device))
            yield batch._replace(pixels=pixels, drawn=None)


class BatchLoader:
    """Batches of one source, pass after pass, by workers that stay: starting them costs a GPU much.

    They end with the loader, or when it is closed. They are fewer than asked for where shared
    memory has no room for the batches of the first pass; `say` is told.
    """

    def __init__(
        self,
        source: RowSource,
        *,
        workers: int,
        augmentation: Augmentation | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._tasks: list[_Task] = []
        self._pass: Generator[Batch, None, None] | None = None
        self._batches_of = _PlannedBatches(source, augmentation)
        self._wanted, self._say = workers, say
        self._loader: DataLoader[_Loaded] | None = None

    def _start(self, largest: int) -> DataLoader[_Loaded]:
        workers = self._wanted
        if workers:
            image = self._batches_of.array.rows(np.zeros(1, dtype=np.int64))
            workers = fit_workers(workers, largest * image.nbytes, say=self._say)
        return DataLoader(
            self._batches_of,
            batch_size=None,
            sampler=self._tasks,
            num_workers=workers,
            prefetch_factor=PREFETCH if workers else None,
            persistent_workers=workers > 0,
            pin_memory=torch.cuda.is_available(),
            multiprocessing_context="fork" if workers else None,
            worker_init_fn=_leave_group,
            # A loader draws a seed when it starts. From torch's own generator, that would shift the
            # dropout of an epoch that is resumed in its middle.
            generator=torch.Generator(),
        )

    def load(
        self, plans: Sequence[Plan], *, start: int = 0, seed: Sequence[int] | None = None
    ) -> Iterator[Batch]:
        """The planned batches from `start` on; augmented by the seed, or as they are for None.

        One pass at a time: a new one ends the one before.
        """
        self._end_pass()
        key = None if seed is None else tuple(seed)
        # In place: torch's loader holds this very list.
        self._tasks[:] = [
            _Task(n, plans[n].rows, plans[n].first, key) for n in range(start, len(plans))
        ]
        if self._loader is None:
            self._loader = self._start(max((len(plan.rows) for plan in plans), default=1))
        self._pass = self._batches(plans, self._loader)
        return self._pass

    def close(self) -> None:
        """End the pass that is on, and the workers, which whoever holds the pass would keep."""
        self._end_pass()
        if self._loader is not None:
            self._loader._iterator = None

    def _end_pass(self) -> None:
        if self._pass is not None:
            self._pass.close()

    def _batches(
        self, plans: Sequence[Plan], loader: DataLoader[_Loaded]
    ) -> Generator[Batch, None, None]:
        with named_worker_errors():
            for pixels, position, drawn in loader:
                plan = plans[position]
                yield Batch(pixels, plan.rows, plan.share, plan.closes, plan.whole, drawn=drawn)


def _leave_group(_: int) -> None:
    # Ctrl-C, `timeout` and schedulers signal the whole group: the run saves its state, and needs
    # its workers until then.
    os.setpgid(0, 0)


_Loaded = tuple[torch.Tensor, int, "DrawnSteps | None"]  # of the plan at the position


class _Task(NamedTuple):
    """What a worker is sent: a plan's position, its rows with the place of the first, and the seed
    of its augmentation."""

    position: int
    rows: Integers
    first: int
    seed: tuple[int, ...] | None


class _PlannedBatches(Dataset["_Loaded"]):
    def __init__(self, array: RowSource, augmentation: Augmentation | None) -> None:
        self.array, self.augmentation = array, augmentation

    def __getitem__(self, task: _Task) -> _Loaded:
        position, rows, first, key = task
        pixels = self.array.rows(rows)
        drawn: DrawnSteps | None = None
        if self.augmentation is not None and key is not None:
            # A row that is drawn twice in an epoch must look different the second time.
            keys = [(*key, int(row), position, i) for i, row in enumerate(rows, first)]
            seeds = [int(np.random.SeedSequence(key).generate_state(1)[0]) for key in keys]
            pixels, drawn = self.augmentation.augment(pixels, seeds)
        batch = torch.from_numpy(pixels)
        if get_worker_info() is not None:
            # Here, where an error reaches the run. Left to the queue's own thread, a batch for
            # which shared memory has no room would be lost, and waited for without end.
            batch.share_memory_()  # type: ignore[no-untyped-call]
        return batch, position, drawn


def draw_often(rows: Integers, often: float, rng: np.random.Generator) -> Integers:
    """The rows `often` times on average, one at least: every row as often as any other to within
    one."""
    return _draw(rows, max(1, round(often * len(rows))), rng)


def _draw(rows: Integers, count: int, rng: np.random.Generator) -> Integers:
    """`count` rows: every row as often as any other to within one."""
    repeats, rest = divmod(count, len(rows))
    return np.concatenate([np.tile(rows, repeats), rng.choice(rows, rest, replace=False)])
