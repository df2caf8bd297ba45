"""ImageArray: (N, S, S, 3) uint8 RGB on disk, one row an image in csv order, never all in memory.

`x_train_128.npy` is a plain .npy file, as on Kaggle; `x_train_128.json` beside it says which image
is in which row, how the squares were made, and holds a digest and the file's facts of each row.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from melanoma.data.images import FileFacts, Pixels
from melanoma.errors import DataError
from melanoma.recipe import Image
from melanoma.storage import digest_of


@dataclass(frozen=True)
class ImageArray:
    """Where the pixels lie, and the names of the rows. `digest` covers names and pixels.

    `file_facts` has one entry a row, or none where the files were never seen (Kaggle's array);
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
            return _read_header(file, self.path)[1]

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


def load_array(folder: Path, image: Image, *, part: str = "train") -> ImageArray | None:
    """The array that was prepared in `folder`; None when there is none.

    Raises DataError when it is not what its record says, or was squared in another way.
    """
    record_path = array_file(folder, size=image.size, part=part).with_suffix(".json")
    if not record_path.is_file():
        return None
    record = _read_record(record_path)
    path = Path(record["array"])
    path = path if path.is_absolute() else folder / path
    fit = record["fit"]
    if fit not in (None, image.fit):
        raise DataError(
            f"{path} holds images fitted by {fit}, the recipe says {image.fit}; "
            "prepare into another --arrays DIR"
        )
    check_array(path, size=image.size, rows=len(record["names"]))
    facts = tuple(FileFacts(*row) for row in record.get("file_facts", []))
    if len(facts) not in (0, len(record["names"])):
        raise DataError(f"{record_path} is damaged; remove it and run prepare again")
    return ImageArray(
        path,
        image.size,
        tuple(record["names"]),
        tuple(record["row_digests"]),
        tuple(record["skipped"]),
        record["channels"],
        facts,
        # Records from before there were versions: the first one, where this library decoded.
        record.get("decoder", 1 if facts or fit else None),
    )


def _read_record(path: Path) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads(path.read_text())
        lacking = {"array", "fit", "channels", "skipped", "names", "row_digests"} - record.keys()
    except (ValueError, AttributeError) as error:
        raise DataError(f"{path} is damaged; remove it and run prepare again") from error
    if lacking:
        raise DataError(f"{path} lacks {', '.join(sorted(lacking))}; run prepare again without it")
    return record


def _read_header(file: Any, path: Path) -> tuple[tuple[tuple[int, ...], bool, np.dtype[Any]], int]:
    try:
        version = np.lib.format.read_magic(file)
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        return read(file), file.tell()
    except (ValueError, KeyError, EOFError) as error:
        raise DataError(f"{path} is not a .npy array ({error})") from error


def check_array(path: Path, *, size: int, rows: int) -> None:
    try:
        with path.open("rb") as file:
            (shape, by_column, dtype), offset = _read_header(file, path)
    except OSError as error:
        raise DataError(f"no array at {path} ({error.strerror}); run prepare again") from error
    if dtype != np.uint8 or by_column or len(shape) != 4 or shape[3] != 3 or shape[1] != shape[2]:
        raise DataError(
            f"{path}: uint8 N x S x S x 3 is needed, found {dtype} {' x '.join(map(str, shape))}"
        )
    if shape[1] != size:
        raise DataError(
            f"{path}: images of {shape[1]} px, the recipe says {size} (--set image.size={shape[1]})"
        )
    if shape[0] != rows:
        raise DataError(f"{path}: {shape[0]} images, the table has {rows} rows")
    if path.stat().st_size < offset + int(np.prod(shape)):
        raise DataError(f"{path} is cut off: {path.stat().st_size:,} bytes")
