"""Every pair of an array's images that are one photograph, found once and kept beside the array."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from melanoma.data.array_build import silent
from melanoma.data.array_lock import hold_arrays
from melanoma.data.arrays import ImageArray, array_file
from melanoma.data.duplicates.near import (
    THRESHOLD,
    VERSION,
    NearPair,
    near_duplicates,
    near_duplicates_between,
)
from melanoma.data.groups import Pair, exact_duplicates
from melanoma.storage import read_text, write_json
from melanoma.types import Progress

IDENTICAL = "identical"


class SharedImage(NamedTuple):
    """One photograph under two names; similarity 1 where it is pixel for pixel the same."""

    first: str
    second: str
    similarity: float
    relation: str

    def __str__(self) -> str:
        if self.relation == IDENTICAL:
            return f"{self.first} = {self.second}"
        return f"{self.first} ~ {self.second}: {self.relation}, {self.similarity:.2f}"


@dataclass(frozen=True)
class Duplicates:
    """Pairs of rows: `identical` pixel for pixel, `near` as one photograph changed.

    Where several images are identical, one of them stands for all in `near`.
    """

    identical: tuple[Pair, ...]
    near: tuple[NearPair, ...]

    @property
    def pairs(self) -> list[Pair]:
        """All of them, as rows."""
        return [*self.identical, *((pair.first, pair.second) for pair in self.near)]

    def named(self, names: Sequence[str]) -> list[SharedImage]:
        """All of them by the rows' names, identical ones first."""
        same = [SharedImage(names[a], names[b], 1.0, IDENTICAL) for a, b in self.identical]
        return [*same, *(SharedImage(names[a], names[b], s, r) for a, b, s, r in self.near)]

    def among(self, names: Sequence[str], subset: Sequence[str]) -> Duplicates:
        """The same pairs as rows of `subset`, where they were rows of `names`.

        A pair with an image that is not wanted is left out.
        """
        row_of = {name: row for row, name in enumerate(subset)}
        place = [row_of.get(name, -1) for name in names]
        # Who stands for identical images may be unwanted where another of them is not.
        for first, copy in self.identical:
            place[first] = place[first] if place[first] >= 0 else place[copy]
        identical = [(place[a], place[b]) for a, b in self.identical]
        near = [
            pair._replace(first=place[pair.first], second=place[pair.second]) for pair in self.near
        ]
        return Duplicates(
            tuple(pair for pair in identical if min(pair) >= 0 and pair[0] != pair[1]),
            tuple(pair for pair in near if min(pair.first, pair.second) >= 0),
        )


def find_duplicates(
    array: ImageArray, folder: Path, *, part: str = "train", progress: Progress = silent
) -> Duplicates:
    """The array's duplicates: those kept in `folder` by an earlier call, or searched and kept.

    What was kept is used while the array's digest, the search's version and its threshold are the
    same. Raises StorageError when it cannot be kept.
    """
    path, key = duplicates_file(array, folder, part=part), _key(array)
    cached = _read(path, key)
    if cached is not None:
        return cached
    identical = exact_duplicates(array.row_digests)
    near = near_duplicates(array, rows=_unlike(array), progress=progress)
    with hold_arrays(folder):
        write_json(path, {**key, "identical": identical, "near": near})
    return Duplicates(tuple(identical), tuple(near))


def has_duplicates(array: ImageArray, folder: Path, *, part: str = "train") -> bool:
    """Whether find_duplicates has nothing left to search."""
    return _read(duplicates_file(array, folder, part=part), _key(array)) is not None


def duplicates_file(array: ImageArray, folder: Path, *, part: str = "train") -> Path:
    """Where the pairs are kept: FOLDER/x_train_128.duplicates.json."""
    return array_file(folder, size=array.size, part=part).with_suffix(".duplicates.json")


def find_shared(
    array: ImageArray, other: ImageArray, folder: Path, *, progress: Progress = silent
) -> tuple[SharedImage, ...]:
    """Photographs of `array` that `other` has too, identical ones first; kept in `folder`.

    Raises StorageError when it cannot be kept.
    """
    name = f".shared-{other.digest[:12]}.json"
    path = array_file(folder, size=array.size).with_suffix(name)
    key = {**_key(array), "other": other.digest}
    duplicates = _read(path, key)
    if duplicates is None:
        row_of = {digest: row for row, digest in reversed(list(enumerate(array.row_digests)))}
        identical_rows = {row: row_of[d] for row, d in enumerate(other.row_digests) if d in row_of}
        near = near_duplicates_between(
            array,
            other,
            rows=_unlike(array),
            other_rows=[row for row in _unlike(other) if row not in identical_rows],
            progress=progress,
        )
        identical = [(ours, row) for row, ours in identical_rows.items()]
        with hold_arrays(folder):
            write_json(path, {**key, "identical": identical, "near": near})
        duplicates = Duplicates(tuple(identical), tuple(near))
    # One of identical rows was compared: what is found of it holds of them all.
    ours, theirs = _named_copies(array), _named_copies(other)
    same = [
        SharedImage(own, other.names[row], 1.0, IDENTICAL)
        for first, row in duplicates.identical
        for own in ours[array.row_digests[first]]
    ]
    alike = [
        SharedImage(own, their, pair.similarity, pair.relation)
        for pair in duplicates.near
        for own in ours[array.row_digests[pair.first]]
        for their in theirs[other.row_digests[pair.second]]
    ]
    return (*same, *alike)


def _unlike(array: ImageArray) -> list[int]:
    """Rows of which no two are identical: the first of each kind."""
    copies = {later for _, later in exact_duplicates(array.row_digests)}
    return [row for row in range(len(array)) if row not in copies]


def _named_copies(array: ImageArray) -> dict[str, list[str]]:
    """The names of the rows that are pixel for pixel alike, by their digest."""
    names: dict[str, list[str]] = defaultdict(list)
    for name, digest in zip(array.names, array.row_digests, strict=True):
        names[digest].append(name)
    return names


def _key(array: ImageArray) -> dict[str, Any]:
    return {"array": array.digest, "search": VERSION, "threshold": THRESHOLD}


def _read(path: Path, key: dict[str, Any]) -> Duplicates | None:
    """What is kept under that key; None when there is nothing, or something else."""
    try:
        record = json.loads(read_text(path))
        if {name: record[name] for name in key} != key:
            return None
        identical = tuple((int(a), int(b)) for a, b in record["identical"])
        near = tuple(NearPair(int(a), int(b), float(s), str(r)) for a, b, s, r in record["near"])
    except (OSError, ValueError, KeyError, TypeError):
        return None  # a search costs seconds; a wrong cache would cost a leak
    return Duplicates(identical, near)
