"""An array on a node: by its path where the node sees it, else out of Ray's object store."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from melanoma.data.arrays import ImageArray, row_digest
from melanoma.errors import DataError
from melanoma.types import Pixels

_LOOKED_AT = 16  # rows that are held against their digests


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
    """Whether this machine sees the very array at its path: some rows are held against their
    digests."""
    try:
        sample = np.unique(np.linspace(0, len(array) - 1, _LOOKED_AT).astype(np.int64))
        pixels = array.rows(sample)
    except (OSError, ValueError, DataError):
        return False
    digests = array.row_digests
    return (
        all(row_digest(one) == digests[row] for row, one in zip(sample, pixels, strict=True))
        if digests
        else len(stored_pixels(array)) == len(array)
    )
