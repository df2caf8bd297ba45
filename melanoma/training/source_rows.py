"""SourceRows: a source's part in one fold's training, and the fold's batches over all sources."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from melanoma.data.batches import Plan, RowSource, cut_order, draw_often, draw_order
from melanoma.data.sources import SourceTable
from melanoma.training.run.facts import SourceFacts
from melanoma.types import Integers

if TYPE_CHECKING:
    from melanoma.recipe.recipe import Recipe
    from melanoma.training.fold_data import FoldData

    Seed = Sequence[int]


@dataclass(frozen=True)
class SourceRows:
    """The rows of a source's array that train in one fold; the rest shows what it holds out."""

    table: SourceTable
    rows: Integers

    @property
    def name(self) -> str:
        """The source's name."""
        return self.table.source.name

    @property
    def dropped(self) -> int:
        """How many rows show a patient, lesion or photograph that the fold holds out."""
        return len(self.table) - len(self.rows)


class JoinedRows:
    """The rows of several arrays as one: those of the first, then of the next."""

    def __init__(self, arrays: Sequence[RowSource], lengths: Sequence[int]) -> None:
        self.arrays = tuple(arrays)
        self.starts = np.cumsum([0, *lengths])

    def rows(self, rows: Integers) -> npt.NDArray[np.uint8]:
        """(len(rows), S, S, 3) uint8 RGB, copied, in the order asked for."""
        row_numbers = np.asarray(rows, np.int64)
        owner = np.searchsorted(self.starts, row_numbers, side="right") - 1
        squares: npt.NDArray[np.uint8] | None = None
        for number in np.unique(owner):
            here = owner == number
            part = self.arrays[number].rows(row_numbers[here] - self.starts[number])
            if squares is None:
                squares = np.empty((len(row_numbers), *part.shape[1:]), part.dtype)
            squares[here] = part
        return self.arrays[0].rows(row_numbers) if squares is None else squares


def row_source(data: FoldData) -> RowSource:
    """What the fold's batches are made of: its array, and those of its sources behind it."""
    if not data.sources:
        return data.array
    arrays = [data.array, *(source.table.array for source in data.sources)]
    return JoinedRows(arrays, [len(array) for array in arrays])


def training_rows(data: FoldData) -> Integers:
    """All rows of `row_source` that train."""
    return np.concatenate([data.training, *_numbered(data)])


def plan_fold(recipe: Recipe, data: FoldData, *, seed: Seed) -> list[Plan]:
    """The batches of one epoch, of rows of `row_source`.

    The fold's own rows as the recipe's sampler draws them; beside them each source's, as often as
    its weight says, every row as often as any other to within one; all of them mixed.
    """
    order = draw_order(
        data.training, data.targets[data.training], sampler=recipe.sampler, seed=seed
    )
    if data.sources:
        parts = [order]
        for number, (source, rows) in enumerate(
            zip(data.sources, _numbered(data), strict=True), start=1
        ):
            rng = np.random.default_rng([*seed, number])
            parts.append(draw_often(rows, source.table.source.weight, rng))
        order = np.random.default_rng([*seed, 0]).permutation(np.concatenate(parts))
    rules = recipe.training
    return cut_order(order, batch_size=rules.batch_size, accumulate=rules.accumulate)


def drawn_images(recipe: Recipe, data: FoldData) -> int:
    """How many images an epoch draws."""
    return sum(len(plan.rows) for plan in plan_fold(recipe, data, seed=(0,)))


def describe_source(source: SourceRows, recipe: Recipe) -> SourceFacts:
    """What the source brings to a fold; what its table holds, counted."""
    table = source.table
    possible = table.possible(recipe.classes)
    several = possible.sum(axis=1)
    counts = possible[several == 1].sum(axis=0).astype(int).tolist()
    return SourceFacts(
        name=source.name,
        digest=table.digest,
        images=len(source.rows),
        left_out=source.dropped,
        weight=table.source.weight,
        classes={name: n for name, n in zip(recipe.classes, counts, strict=True) if n},
        of_several=int((several > 1).sum()),
        soft=int(np.isfinite(table.soft).sum()),
        unlabeled=int((several == 0).sum()),
        teacher=table.source.soft_target.teacher if table.source.soft_target else "",
    )


def _numbered(data: FoldData) -> list[Integers]:
    """Each source's training rows, numbered as in `row_source`."""
    start, numbered = len(data.array), []
    for source in data.sources:
        numbered.append(source.rows + start)
        start += len(source.table.array)
    return numbered
