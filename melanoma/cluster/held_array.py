"""An array on a node: by its path where the node sees it, else out of Ray's object store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt

from melanoma.data.arrays import ImageArray, require_recorded_pixels
from melanoma.errors import DataError
from melanoma.training.fold_data import FoldData
from melanoma.types import Pixels


@dataclass(frozen=True)
class HeldArray(ImageArray):
    """An ImageArray whose pixels, (N, S, S, 3) uint8 as they are stored, lie in memory."""

    pixels: Pixels | None = None

    def rows(self, rows: npt.ArrayLike) -> Pixels:
        """(len(rows), S, S, 3) uint8 RGB, copied."""
        assert self.pixels is not None
        squares = self.pixels[np.asarray(rows, dtype=np.int64)]
        return squares[..., ::-1].copy() if self.channels == "bgr" else squares


def stored_pixels(array: ImageArray) -> Pixels:
    """(N, S, S, 3) uint8 as they are stored; mapped, not read."""
    mapped: Pixels = np.load(array.path, mmap_mode="r")
    return mapped


def hold_array(array: ImageArray, pixels: Pixels) -> HeldArray:
    """The array with these pixels in the place of those at its path."""
    values = {field.name: getattr(array, field.name) for field in fields(ImageArray)}
    return HeldArray(**values, pixels=pixels)


def is_here(array: ImageArray) -> bool:
    """Whether this machine sees the very array at its path: every row is held against its digest,
    for a copy of an earlier state may differ in a few."""
    try:
        if array.row_digests:
            require_recorded_pixels(array, "it is taken from the command")
            return True
        return len(stored_pixels(array)) == len(array)
    except (OSError, ValueError, DataError):
        return False


def arrays_of(part: FoldData) -> list[ImageArray]:
    """The arrays that a fold trains on: its own, and those of its sources."""
    return [part.array, *(source.table.array for source in part.sources)]


def with_arrays(part: FoldData, arrays: Sequence[ImageArray]) -> FoldData:
    """The fold with these arrays, in the order of arrays_of."""
    own, *others = arrays
    sources = tuple(
        replace(source, table=replace(source.table, array=array))
        for source, array in zip(part.sources, others, strict=True)
    )
    return replace(part, array=own, sources=sources)
