"""How a batch is shared among threads, each of which runs one network on some of its rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple


class Part(NamedTuple):
    """Rows of a batch, for one fold's network."""

    fold: int
    rows: slice


def split_rows(count: int, *, most: int, folds: Sequence[int], threads: int) -> list[Part]:
    """Each fold's `count` rows in parts of at most `most`, a fold's in order.

    Fewer rows take longer each. So parts are whole as long as there is one for every thread, and
    only those that would leave threads waiting at the end are split among them.
    """
    whole = [
        Part(fold, slice(first, min(first + most, count)))
        for fold in folds
        for first in range(0, count, most)
    ]
    left = len(whole) % threads
    return [
        piece
        for number, part in enumerate(whole)
        for piece in (_split(part, threads // left) if number >= len(whole) - left else [part])
    ]


def _split(part: Part, pieces: int) -> list[Part]:
    first, last = part.rows.start, part.rows.stop
    step = math.ceil((last - first) / pieces)
    return [
        Part(part.fold, slice(start, min(start + step, last))) for start in range(first, last, step)
    ]
