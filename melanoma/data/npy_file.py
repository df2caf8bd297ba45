"""A .npy file written row by row, which a kill at any moment leaves to go on from.

Which rows are done is its user's to record: here are the bytes.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
from pathlib import Path
from typing import BinaryIO

import numpy as np

from melanoma.storage import ensure_writable, reserve, writing


class NpyFile:
    """`rows` rows of one shape and type. Closed until `open`; its user has the file alone."""

    def __init__(self, path: Path, rows: int, shape: tuple[int, ...], dtype: str) -> None:
        self.path, self.rows, self._shape, self._dtype = path, rows, shape, np.dtype(dtype)
        self.header = self._header(rows)
        self.row_bytes = math.prod(shape) * self._dtype.itemsize
        self.bytes = self.offset(rows)
        self._file: BinaryIO | None = None

    def _header(self, rows: int) -> bytes:
        file = io.BytesIO()
        descr = np.lib.format.dtype_to_descr(self._dtype)
        fields = {"descr": descr, "fortran_order": False, "shape": (rows, *self._shape)}
        np.lib.format.write_array_header_1_0(file, fields)
        return file.getvalue()

    def offset(self, row: int) -> int:
        """Where a row begins, in bytes."""
        return len(self.header) + row * self.row_bytes

    def is_begun(self) -> bool:
        """Whether the file at the path begins as this one does."""
        with self.path.open("rb") as file:
            return file.read(len(self.header)) == self.header

    def open(self, *, goes_on: bool) -> None:
        """Open the file as it is, or a new one, with room for every row. Raises StorageError."""
        allocated = self.path.stat().st_blocks * 512 if self.path.is_file() else 0
        ensure_writable(self.path.parent, needed=self.rows * self.row_bytes - allocated)
        # Never emptied in place: a map that another process has of it would end that process.
        if not goes_on:
            self.path.unlink(missing_ok=True)
        with writing(self.path, needed=self.bytes):
            file: BinaryIO = self.path.open("r+b" if goes_on else "x+b")
            try:
                file.write(self.header)
                file.flush()
                reserve(file, self.bytes)
                file.truncate(self.bytes)
            except OSError:
                with contextlib.suppress(OSError):
                    file.close()
                if not goes_on:
                    self.path.unlink(missing_ok=True)
                raise
        self._file = file

    @property
    def file(self) -> BinaryIO:
        """The open file."""
        assert self._file is not None, f"{self.path} is not open"
        return self._file

    def read(self, row: int) -> bytes:
        """The bytes of one row."""
        self.file.seek(self.offset(row))
        return self.file.read(self.row_bytes)

    def write(self, row: int, payload: bytes) -> None:
        """Write the bytes of one row, or of several from `row` on."""
        with writing(self.path, needed=self.bytes):
            self.file.seek(self.offset(row))
            self.file.write(payload)

    def sync(self) -> None:
        """Put on disk what was written."""
        with writing(self.path, needed=self.bytes):
            self.file.flush()
            os.fsync(self.file.fileno())

    def shorten(self, rows: int) -> None:
        """Keep the first `rows` rows alone."""
        header = self._header(rows)
        assert len(header) == len(self.header)
        with writing(self.path):
            self.file.seek(0)
            self.file.write(header)
            self.file.truncate(self.offset(rows))

    def close(self, *, failed: bool = False) -> None:
        """Close the file; where its user `failed`, what a full disk left in the buffer is lost."""
        try:
            self.file.close()
        except OSError:
            if not failed:
                raise
