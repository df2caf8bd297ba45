"""Making an ImageArray: decode a table's images over all cores, or adopt Kaggle's array."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from melanoma.data.arrays import ImageArray, array_file, check_array
from melanoma.data.duplicates import exact_duplicates
from melanoma.data.images import DECODER_VERSION, FileFacts, Pixels, read_measured
from melanoma.data.lesions import LesionTable
from melanoma.errors import DataError, ImageError
from melanoma.recipe import Image
from melanoma.storage import digest_of, ensure_writable, write_json

Progress = Callable[..., Iterable[Any]]
_CHUNK = 64


def silent(items: Iterable[Any], **_: Any) -> Iterable[Any]:
    """A Progress that shows nothing."""
    return items


class Survey(NamedTuple):
    """What is wrong with a table and its images, and pairs of rows that are one image."""

    problems: list[str]
    duplicates: list[tuple[int, int]]


def find_adoptable(arrays: Path, data: Path, image: Image, *, part: str = "train") -> Path | None:
    """Kaggle's x_train_S.npy in either folder; None when there is none.

    Raises DataError when there is one of another size and no image folder to build from.
    """
    for folder in (arrays, data):
        path = array_file(folder, size=image.size, part=part)
        if path.is_file():
            return path
    others = sorted(data.glob(f"x_{part}_*.npy"))
    if others and not (data / "jpeg" / part).is_dir():
        size = others[0].stem.rsplit("_", 1)[1]
        raise DataError(
            f"{data} has {others[0].name}, the recipe says {image.size} px "
            f"(--set image.size={size})"
        )
    return None


def adopt_array(
    path: Path,
    table: LesionTable,
    folder: Path,
    image: Image,
    *,
    channels: str,
    part: str = "train",
    progress: Progress = silent,
) -> ImageArray:
    """Kaggle's array as it is: checked, its rows named in csv order, recorded in `folder`.

    Raises DataError when rows, type or size differ, or red and blue look swapped.
    """
    names = tuple(table.names)
    check_array(path, size=image.size, rows=len(names))
    array = ImageArray(path.resolve(), image.size, names, (), channels=channels)
    _check_channels(array)
    digests: list[str] = []
    for start in progress(range(0, len(names), _CHUNK), desc="check array", unit="chunk"):
        chunk = array.rows(range(start, min(start + _CHUNK, len(names))))
        digests += [_digest(pixels) for pixels in chunk]
    adopted = ImageArray(array.path, image.size, names, tuple(digests), channels=channels)
    return _record(adopted, folder, image, part=part, fit=None)


def build_array(
    table: LesionTable,
    folder: Path,
    image: Image,
    *,
    part: str = "train",
    skip_bad: float = 0.0,
    progress: Progress = silent,
) -> ImageArray:
    """Decode every image of the table into the array, over all cores; resumes where it stopped.

    All problems of the table and all unreadable files are found before it raises DataError with
    their counts and names. Up to the share `skip_bad` of the images may be left out instead; their
    names are kept in `skipped`.
    """
    names = table.names
    work = _PartialArray(folder, names, image, part=part)
    broken = []
    todo = [row for row, digest in enumerate(work.digests) if not digest]
    for row, found in progress(
        _read_squares(table, todo, image), total=len(todo), desc=f"prepare {part}", unit="image"
    ):
        if isinstance(found, str):
            broken.append(found)
        else:
            work.put(row, *found)
    work.save()
    files = _file_problems(table, broken)
    too_many = len(broken) > skip_bad * len(names)
    if table.problems or too_many:
        hint = "" if skip_bad or not files else " (--skip-bad leaves out up to 1 %)"
        raise DataError(f"{table.folder}: {'; '.join([*table.problems, *files])}{hint}")
    return _record(work.finish(), folder, image, part=part, fit=image.fit)


def survey_images(table: LesionTable, image: Image, *, progress: Progress = silent) -> Survey:
    """Every problem of the table and its images; decodes all, keeps none."""
    digests, broken = [""] * len(table), []
    rows = list(range(len(table)))
    for row, found in progress(
        _read_squares(table, rows, image), total=len(rows), desc="check", unit="image"
    ):
        if isinstance(found, str):
            broken.append(found)
        else:
            digests[row] = _digest(found[0])
    return Survey([*table.problems, *_file_problems(table, broken)], exact_duplicates(digests))


def _read_squares(
    table: LesionTable, rows: list[int], image: Image
) -> Iterator[tuple[int, tuple[Pixels, FileFacts] | str]]:
    """(row, its square and its file's facts, or what is wrong with it), in the order of `rows`.

    Threads, not processes: decoding and resampling leave Python's lock.
    """
    names, sources = table.names, table.frame["source"].tolist()

    def read(row: int) -> tuple[int, tuple[Pixels, FileFacts] | str]:
        if not sources[row]:
            return row, f"{names[row]} (missing)"
        try:
            return row, read_measured(table.folder / sources[row], size=image.size, fit=image.fit)
        except ImageError as error:
            return row, f"{names[row]} ({error})"

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for start in range(0, len(rows), _CHUNK):
            yield from pool.map(read, rows[start : start + _CHUNK])


class _PartialArray:
    """An array in the making: pixels in NAME.npy.part, what is done in NAME.part.json."""

    def __init__(self, folder: Path, names: list[str], image: Image, *, part: str) -> None:
        ensure_writable(folder, needed=len(names) * image.size**2 * 3)
        self.final = array_file(folder, size=image.size, part=part)
        self.path = self.final.with_suffix(".npy.part")
        self.progress_file = self.final.with_suffix(".part.json")
        self.names, self.image = names, image
        self.key = digest_of([names, image.size, image.fit, DECODER_VERSION])
        self.digests = [""] * len(names)
        self.facts = [FileFacts(0, 0, 0)] * len(names)
        self._take_up_earlier()
        self.since_save = 0
        mode: Literal["r+", "w+"] = "r+" if any(self.digests) else "w+"
        shape = (len(names), image.size, image.size, 3)
        self.map = np.lib.format.open_memmap(self.path, mode, np.uint8, shape)

    def _take_up_earlier(self) -> None:
        if self.path.is_file() and self.progress_file.is_file():
            saved = json.loads(self.progress_file.read_text())
            # Before facts were kept, a cut build saved none: its images are read once more.
            if saved["key"] == self.key and "file_facts" in saved:
                self.digests = saved["digests"]
                self.facts = [FileFacts(*row) for row in saved["file_facts"]]

    def put(self, row: int, pixels: Pixels, facts: FileFacts) -> None:
        self.map[row] = pixels
        self.digests[row] = _digest(pixels)
        self.facts[row] = facts
        self.since_save += 1
        if self.since_save >= 2048:
            self.save()

    def save(self) -> None:
        self.map.flush()
        # A fresh map: pages that stay mapped would count as this process's memory.
        self.map = np.load(self.path, mmap_mode="r+")
        done = {"key": self.key, "digests": self.digests, "file_facts": self.facts}
        write_json(self.progress_file, done)
        self.since_save = 0

    def finish(self) -> ImageArray:
        """The finished array under its own name, without the rows that were skipped."""
        kept = [row for row, digest in enumerate(self.digests) if digest]
        if not kept:
            raise DataError("no image could be read")
        if len(kept) < len(self.names):
            self._drop_skipped(kept)
        self.path.replace(self.final)
        self.progress_file.unlink(missing_ok=True)
        skipped = tuple(n for n, digest in zip(self.names, self.digests, strict=True) if not digest)
        return ImageArray(
            self.final,
            self.image.size,
            tuple(self.names[r] for r in kept),
            tuple(self.digests[r] for r in kept),
            skipped,
            file_facts=tuple(self.facts[r] for r in kept),
            decoder=DECODER_VERSION,
        )

    def _drop_skipped(self, kept: list[int]) -> None:
        shorter = self.path.with_suffix(".short")
        out = np.lib.format.open_memmap(shorter, "w+", np.uint8, (len(kept), *self.map.shape[1:]))
        for new, old in enumerate(kept):
            out[new] = self.map[old]
        out.flush()
        shorter.replace(self.path)


def _record(
    array: ImageArray, folder: Path, image: Image, *, part: str, fit: str | None
) -> ImageArray:
    record_path = array_file(folder, size=image.size, part=part).with_suffix(".json")
    inside = array.path.parent.resolve() == folder.resolve()
    write_json(
        record_path,
        {
            "array": array.path.name if inside else str(array.path),
            "size": array.size,
            "fit": fit,
            "channels": array.channels,
            "digest": array.digest,
            "skipped": array.skipped,
            "names": array.names,
            "row_digests": array.row_digests,
            "file_facts": array.file_facts,
            "decoder": array.decoder,
        },
    )
    return array


def _file_problems(table: LesionTable, broken: list[str]) -> list[str]:
    missing = [b.removesuffix(" (missing)") for b in broken if b.endswith(" (missing)")]
    unreadable = [b for b in broken if not b.endswith(" (missing)")]
    found = []
    for what, which in (("missing", missing), ("unreadable", unreadable)):
        if which:
            more = f" and {len(which) - 5} more" if len(which) > 5 else ""
            found.append(
                f"{len(which)} of {len(table)} images {what}: {', '.join(which[:5])}{more}"
            )
    return found


def _check_channels(array: ImageArray) -> None:
    # Skin is red before it is blue in every light; ten grey levels the other way is a swap.
    sample = np.linspace(0, len(array.names) - 1, min(256, len(array.names))).astype(np.int64)
    red, _, blue = array.rows(sample).reshape(-1, 3).mean(axis=0)
    if blue - red > 10:
        other = "rgb" if array.channels == "bgr" else "bgr"
        raise DataError(
            f"{array.path}: blue is {blue - red:.0f} levels above red, so its channels "
            f"look swapped; --set data.array_channels={other}"
        )


def _digest(pixels: Pixels) -> str:
    return hashlib.blake2b(pixels.tobytes(), digest_size=16).hexdigest()
