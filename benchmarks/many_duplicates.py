"""The near-duplicate search among many images: its time, its memory, and what the lists miss.

    python -m benchmarks.many_duplicates ARRAY.npy [--images 10015 33126] [--planted 500]

ARRAY.npy holds (N, S, S, 3) uint8 squares of photographs, such as prepare's x_train_128.npy. Where
more images are asked for than it has, the rest are drawn: two photographs of it, turned and cut at
random, one laid over the other by half. Among them --planted copies stand, turned, cropped by up to
10 % and saved as JPEG of quality 30 to 95; each is looked for. With --exact all are compared with
all too, on the same images, and the share of its pairs that the lists find is given. Writes
results/benchmarks/many_duplicates.json.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.facts import run_facts
from benchmarks.near_duplicates import CHANGES
from melanoma.data.duplicates import neighbors
from melanoma.data.duplicates.near import near_duplicates
from melanoma.data.images import Pixels
from melanoma.storage import write_json

OUT = Path("results/benchmarks/many_duplicates.json")
_CHANGE = CHANGES["crop 5 %, turned, jpeg 30-95"]


class Drawn:
    """`count` squares: those of the array, then drawn ones; the last `planted` are copies of the
    first ones, changed. Made when they are asked for, always alike."""

    def __init__(self, array: Pixels, count: int, planted: int) -> None:
        self._array, self._count, self._planted = array, count, planted

    def __len__(self) -> int:
        return self._count

    def rows(self, rows: Sequence[int] | npt.NDArray[np.int64]) -> Pixels:
        """(n, S, S, 3)."""
        return np.stack([self._one(int(row)) for row in np.asarray(rows)])

    def _one(self, row: int) -> Pixels:
        rng, copy = np.random.default_rng([0, row]), row - (self._count - self._planted)
        if copy >= 0:
            changed = _CHANGE(Image.fromarray(self._array[copy]), rng)
            return np.asarray(changed, dtype=np.uint8)
        if row < len(self._array):
            return np.asarray(self._array[row])
        one, other = (self._cut(rng) for _ in range(2))
        return ((one.astype(np.uint16) + other) // 2).astype(np.uint8)

    def _cut(self, rng: np.random.Generator) -> Pixels:
        source = Image.fromarray(self._array[rng.integers(len(self._array))])
        side, turn = source.width, Image.Transpose(int(rng.integers(len(Image.Transpose))))
        share = rng.uniform(0.5, 0.9)
        left, top = rng.uniform(0, (1 - share) * side, 2)
        box = (left, top, left + share * side, top + share * side)
        return np.asarray(source.transpose(turn).resize((side, side), box=box), dtype=np.uint8)


def search(squares: Drawn, *, exact: bool) -> tuple[set[tuple[int, int]], float]:
    """The pairs that are found, and the seconds."""
    neighbors.ALL_UP_TO = len(squares) if exact else 0
    start = time.perf_counter()
    pairs = near_duplicates(squares)
    return {(pair.first, pair.second) for pair in pairs}, time.perf_counter() - start


def measure(array: Pixels, count: int, planted: int, *, exact: bool) -> dict[str, Any]:
    """One row of the table."""
    squares = Drawn(array, count, planted)
    start = time.perf_counter()
    for first in range(0, count, 256):
        squares.rows(np.arange(first, min(first + 256, count)))
    drawing = time.perf_counter() - start
    found, seconds = search(squares, exact=False)
    wanted = {(n, count - planted + n) for n in range(planted)}
    row: dict[str, Any] = {
        "images": count,
        "seconds": round(seconds, 1),
        "seconds_of_drawing_once": round(drawing, 1),
        "pairs": len(found),
        "planted": planted,
        "planted_found": len(found & wanted),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    if exact:
        all_pairs, row["exact_seconds"] = search(squares, exact=True)
        row["exact_seconds"] = round(row["exact_seconds"], 1)
        row["exact_planted_found"] = len(all_pairs & wanted)
        row["share_of_exact"] = round(len(found & all_pairs) / max(1, len(all_pairs)), 4)
    return row


def main() -> None:
    """Measure, print and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("array", type=Path)
    parser.add_argument("--images", type=int, nargs="+", default=[10_015, 33_126])
    parser.add_argument("--planted", type=int, default=500)
    parser.add_argument("--exact", action="store_true")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    array = np.load(given.array, mmap_mode="r")
    rows = []
    for count in given.images:
        rows.append(measure(array, count, given.planted, exact=given.exact))
        print(rows[-1], flush=True)
    facts = run_facts("many_duplicates")
    facts["command"] = facts["command"].replace(str(given.array), given.array.name)
    write_json(given.out, {**facts, "rows": rows})
    print(f"wrote {given.out}")


if __name__ == "__main__":
    main()
