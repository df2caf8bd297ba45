"""ImageArray: (N, S, S, 3) uint8 RGB on disk, one row an image in csv order, never all in memory.

`x_train_128.npy` is a plain .npy file, as on Kaggle; `x_train_128.json` beside it says which image
is in which row, how the squares were made, and holds a digest and the file's facts of each row.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from melanoma.data.file_states import FileState
from melanoma.data.images import FileFacts, Pixels
from melanoma.data.npy_header import read_npy_header
from melanoma.errors import DataError
from melanoma.recipe.sections import Image
from melanoma.storage import digest_of, open_file, read_text

_CHUNK = 64
# The files whose rows this process has held against their digests: path, size, time, inode, digest.
_verified: set[tuple[str, int, int, int, str]] = set()


@dataclass(frozen=True)
class ImageArray:
    """Where the pixels lie, and the names of the rows. `digest` covers names and pixels.

    `file_facts` and `files` have one entry a row, or none where the files were never seen (Kaggle's
    array) or nobody kept it; what has become of the files since is no part of the digest;
    `decoder` is the version of the decoder, None where another program's made the pixels.
    """

    path: Path
    size: int
    names: tuple[str, ...]
    row_digests: tuple[str, ...]
    skipped: tuple[str, ...] = ()
    channels: str = "rgb"
    file_facts: tuple[FileFacts, ...] = ()
    decoder: int | None = None
    files: tuple[FileState, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    @property
    def digest(self) -> str:
        """sha256 over the rows' names and digests."""
        return digest_of([self.names, self.row_digests, self.channels])

    @cached_property
    def row_of(self) -> dict[str, int]:
        """Row by image name."""
        return {name: row for row, name in reversed(list(enumerate(self.names)))}

    @cached_property
    def _offset(self) -> int:
        with self.path.open("rb") as file:
            return read_npy_header(file, self.path).offset

    def rows(self, rows: Sequence[int] | npt.NDArray[np.int64]) -> Pixels:
        """(len(rows), S, S, 3) uint8 RGB, copied.

        The map lives as long as this call: pages that stay mapped would count as the process's own
        memory, and an epoch would map the whole file.
        """
        shape = (len(self.names), self.size, self.size, 3)
        mapped = np.memmap(self.path, np.uint8, "r", offset=self._offset, shape=shape)
        pixels = np.asarray(mapped[np.asarray(rows, dtype=np.int64)])
        return pixels[..., ::-1].copy() if self.channels == "bgr" else pixels


def array_file(folder: Path, *, size: int, part: str = "train") -> Path:
    """Where the array of that size lies: FOLDER/x_train_128.npy."""
    return folder / f"x_{part}_{size}.npy"


def load_array(
    folder: Path, image: Image, *, part: str = "train", path: Path | None = None
) -> ImageArray | None:
    """The array that was prepared in `folder`; None when there is none.

    `path` is where its pixels lie now, if not where the record says (find_array looks for them).
    Every row's pixels are held against its digest, once a process for a file that stays as it is.
    Raises DataError when the array is not what its record says, or was squared in another way.
    """
    record_path = array_file(folder, size=image.size, part=part).with_suffix(".json")
    if not record_path.is_file():
        return None
    record = read_values(record_path)
    if path is not None:
        record["array"] = str(path.resolve())
    fit, array = record["fit"], _recorded_array(record, record_path, image.size)
    if fit not in (None, image.fit):
        raise DataError(
            f"{array.path} holds images fitted by {fit}, the recipe says {image.fit}; "
            "prepare into another --arrays DIR"
        )
    # Kaggle's array is not ours to remove.
    remedy = str(record_path) if fit is None else f"{array.path} {record_path}"
    require_recorded_pixels(array, f"run prepare again after: rm {remedy}")
    return array


def read_record(record_path: Path, size: int) -> ImageArray:
    """The array that the record names, its pixels not looked at. Raises DataError."""
    return _recorded_array(read_values(record_path), record_path, size)


def open_record(record_path: Path) -> ImageArray:
    """The array that the record names, of whatever size, its pixels not looked at."""
    record = read_values(record_path)
    return _recorded_array(record, record_path, int(record.get("size", 0)))


def _recorded_array(record: dict[str, Any], record_path: Path, size: int) -> ImageArray:
    path = Path(record["array"])
    path = path if path.is_absolute() else record_path.parent / path
    check_array(path, size=size, rows=len(record["names"]))
    facts = tuple(FileFacts(*row) for row in record.get("file_facts", []))
    files = tuple(FileState(*row) for row in record.get("files", []))
    rows = len(record["names"])
    if {len(facts), len(files)} - {0, rows} or len(record["row_digests"]) != rows:
        raise DataError(f"{record_path} is damaged; remove it and run prepare again")
    return ImageArray(
        path,
        size,
        tuple(record["names"]),
        tuple(record["row_digests"]),
        tuple(record["skipped"]),
        record["channels"],
        facts,
        # Records from before there were versions: the first one, where this library decoded.
        record.get("decoder", 1 if facts or record["fit"] else None),
        files,
    )


def read_values(path: Path) -> dict[str, Any]:
    """The record's own fields. Raises DataError where it is damaged."""
    try:
        record: dict[str, Any] = json.loads(read_text(path))
        lacking = {"array", "fit", "channels", "skipped", "names", "row_digests"} - record.keys()
    except (ValueError, AttributeError) as error:
        raise DataError(f"{path} is damaged; remove it and run prepare again") from error
    if lacking:
        raise DataError(f"{path} lacks {', '.join(sorted(lacking))}; run prepare again without it")
    return record


def row_digest(pixels: Pixels | bytes) -> str:
    """blake2b of one row's pixels, RGB, as the record has it."""
    data = pixels if isinstance(pixels, bytes) else pixels.tobytes()
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def differing_rows(array: ImageArray) -> list[int]:
    """The rows whose pixels are not those of their digests."""
    differing: list[int] = []
    for start in range(0, len(array), _CHUNK):
        pixels = array.rows(range(start, min(start + _CHUNK, len(array))))
        recorded = array.row_digests[start : start + _CHUNK]
        rows = enumerate(zip(pixels, recorded, strict=True), start)
        differing += [row for row, (one, digest) in rows if row_digest(one) != digest]
    return differing


def require_recorded_pixels(array: ImageArray, remedy: str) -> None:
    """Raise DataError where rows are not the pixels of their digests, once a process for a file
    that stays as it is; `remedy` is what to do then."""
    stat = array.path.stat()
    file = (str(array.path.resolve()), stat.st_size, stat.st_mtime_ns, stat.st_ino, array.digest)
    if file in _verified:
        return
    differing = differing_rows(array)
    if differing:
        first = ", ".join(f"{row} ({array.names[row]})" for row in differing[:5])
        raise DataError(
            f"{array.path}: {len(differing):,} of {len(array):,} rows are not the pixels that "
            f"were recorded (rows {first}{', ...' if len(differing) > 5 else ''}); "
            f"{remedy}"
        )
    _verified.add(file)


def check_array(path: Path, *, size: int, rows: int) -> None:
    try:
        with open_file(path) as file:
            shape, by_column, dtype, _ = read_npy_header(file, path)
    except OSError as error:
        raise DataError(
            f"no array at {path} ({error.strerror}); run python -m melanoma.prepare again, with "
            "the folder of the data as it is now (--data)"
        ) from error
    if by_column and len(shape) > 1:
        raise DataError(
            f"{path} is stored column by column (Fortran's order), and uint8 N x S x S x 3 is read "
            "row by row; save it again as numpy.ascontiguousarray(array)"
        )
    if dtype != np.uint8 or len(shape) != 4 or shape[3] != 3 or shape[1] != shape[2]:
        raise DataError(
            f"{path}: uint8 N x S x S x 3 is needed, found {dtype} {' x '.join(map(str, shape))}"
            + ("; numpy.moveaxis(array, 1, 3) puts the channels last" if shape[1:2] == (3,) else "")
        )
    if shape[1] != size:
        raise DataError(
            f"{path}: images of {shape[1]} px, the recipe says {size} (--set image.size={shape[1]})"
        )
    if shape[0] != rows:
        raise DataError(f"{path}: {shape[0]} images, the table has {rows} rows")


def require_red_skin(array: ImageArray, *, option: str) -> None:
    """Raise DataError where red and blue look swapped; `option` is what says their order."""
    # Skin is red before it is blue in every light; ten grey levels the other way is a swap.
    sample = np.linspace(0, len(array.names) - 1, min(256, len(array.names))).astype(np.int64)
    red, _, blue = array.rows(sample).reshape(-1, 3).mean(axis=0)
    if blue - red > 10:
        other = "rgb" if array.channels == "bgr" else "bgr"
        raise DataError(
            f"{array.path}: blue is {blue - red:.0f} levels above red, so its channels "
            f"look swapped; {option}={other}"
        )
