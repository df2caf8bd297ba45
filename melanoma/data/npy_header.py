"""What a .npy file says of itself, read without trusting it."""

from __future__ import annotations

import tokenize
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from melanoma.errors import DataError

_READ = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
# Whatever numpy's reading of a header raises on bytes: it parses it as Python.
_ODD = (ValueError, TypeError, EOFError, KeyError, SyntaxError, tokenize.TokenError, RecursionError)
_ZIP = b"PK\x03\x04"


class NpyHeader(NamedTuple):
    """`offset` is where the first value stands, in bytes."""

    shape: tuple[int, ...]
    by_column: bool
    dtype: np.dtype[Any]
    offset: int

    @property
    def bytes(self) -> int:
        """The size that the file must have."""
        values = 1
        for length in self.shape:  # Python's whole numbers: no product overflows
            values *= length
        return self.offset + values * self.dtype.itemsize


def read_npy_header(file: BinaryIO, path: Path) -> NpyHeader:
    """The header of the open file. Raises DataError for what is no .npy array that can be mapped:
    another format, Python objects, a negative length, or fewer bytes than it promises."""
    begins = file.read(len(_ZIP))
    if begins == _ZIP:
        raise DataError(f"{path} is an archive (.npz); save its array alone by numpy.save")
    file.seek(0)
    try:
        version = np.lib.format.read_magic(file)
        header = NpyHeader(*_READ[version](file), file.tell())
    except _ODD as error:
        raise DataError(f"{path} is no plain .npy array: its header cannot be read") from error
    if header.dtype.hasobject:
        raise DataError(f"{path} is no plain .npy array: it holds Python objects")
    if any(length < 0 for length in header.shape):
        raise DataError(f"{path} is no plain .npy array: its shape is {header.shape}")
    size = path.stat().st_size
    if size < header.bytes:
        raise DataError(f"{path} is cut off: {size:,} bytes of {header.bytes:,}")
    return header
