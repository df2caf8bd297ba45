"""Recall and precision of the near-duplicate search, on photographs of one's own.

    python -m benchmarks.near_duplicates --config configs/ham10000_melanoma.yaml --data DIR

Copies of a few hundred photographs are planted (re-saved, turned, cropped, resized, brightened,
blurred) and looked for among --among photographs of the folder, as the search looks between sets.
Printed: the share found by what was done, and the lowest similarities of the planted pairs; then
the search within the folder itself: its time, and the most alike photographs that its table calls
different lesions (or, without lesions, different patients). --sheet FILE.png shows those.
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance, ImageFilter

from benchmarks.facts import run_facts
from melanoma.data.arrays import ImageArray
from melanoma.data.duplicates.contact_sheet import Tile, save_contact_sheet
from melanoma.data.duplicates.near import (
    THRESHOLD,
    NearPair,
    near_duplicates,
    near_duplicates_between,
)
from melanoma.data.groups import exact_duplicates
from melanoma.data.images import Pixels, decode_image, make_square
from melanoma.data.readers.reader_catalog import read_lesions
from melanoma.data.readers.table import LesionTable
from melanoma.recipe.overrides import load_recipe
from melanoma.recipe.recipe import Recipe
from melanoma.workflows.prepare import prepare_array

Rng = np.random.Generator
Change = Callable[[Image.Image, Rng], Image.Image]
_STRANGERS_FROM = 0.5  # similarity from which natural pairs are listed


def saved(image: Image.Image, quality: int) -> Image.Image:
    data = io.BytesIO()
    image.save(data, "JPEG", quality=quality)
    return Image.open(io.BytesIO(data.getvalue())).convert("RGB")


def any_quality(image: Image.Image, rng: Rng) -> Image.Image:
    return saved(image, int(rng.integers(30, 96)))


def turned(image: Image.Image, rng: Rng) -> Image.Image:
    ways = list(Image.Transpose)
    return image.transpose(ways[int(rng.integers(len(ways)))])


def cropped(image: Image.Image, share: float, *, down: float, across: float) -> Image.Image:
    """`share` of each side cut off, the rest brought back to the size; 0.5, 0.5 is the center."""
    width, height = image.size
    left, top = across * share * width, down * share * height
    box = (left, top, left + (1 - share) * width, top + (1 - share) * height)
    return image.resize(image.size, Image.Resampling.BICUBIC, box=box)


def _corner(share: float) -> Change:
    return lambda image, rng: cropped(
        image, share, down=float(rng.integers(2)), across=float(rng.integers(2))
    )


def _saved_at(quality: int) -> Change:
    return lambda image, rng: saved(image, quality)


def _transposed(way: Image.Transpose) -> Change:
    return lambda image, rng: image.transpose(way)


def _anywhere(share: float) -> Change:
    return lambda image, rng: cropped(image, share, down=rng.random(), across=rng.random())


CHANGES: dict[str, Change] = {
    **{f"jpeg {quality}": _saved_at(quality) for quality in (30, 50, 75, 95)},
    **{way.name.lower(): _transposed(way) for way in Image.Transpose},
    "turned, jpeg 30": lambda image, rng: saved(turned(image, rng), 30),
    "turned, jpeg 30-95": lambda image, rng: any_quality(turned(image, rng), rng),
    "crop 5 %, center": lambda image, _: cropped(image, 0.05, down=0.5, across=0.5),
    "crop 5 %, corner": _corner(0.05),
    "crop 5 %, jpeg 30-95": lambda image, rng: any_quality(_anywhere(0.05)(image, rng), rng),
    "crop 5 %, turned, jpeg 30-95": lambda image, rng: any_quality(
        turned(_anywhere(0.05)(image, rng), rng), rng
    ),
    "crop 10 %, center": lambda image, _: cropped(image, 0.10, down=0.5, across=0.5),
    "crop 10 %, corner": _corner(0.10),
    "crop 10 %, jpeg 30-95": lambda image, rng: any_quality(_anywhere(0.10)(image, rng), rng),
    "resized to half": lambda image, _: image.resize(
        (image.width // 2, image.height // 2), Image.Resampling.BICUBIC
    ),
    "brightness + 20 %": lambda image, _: ImageEnhance.Brightness(image).enhance(1.2),
    "contrast - 25 %": lambda image, _: ImageEnhance.Contrast(image).enhance(0.75),
    "blur, sigma 1 px": lambda image, _: image.filter(ImageFilter.GaussianBlur(1)),
}


class Planted:
    """Squares in memory, with the names of what they were made from."""

    def __init__(self, squares: Pixels) -> None:
        self.squares = squares

    def __len__(self) -> int:
        return len(self.squares)

    def rows(self, rows: Sequence[int] | npt.NDArray[np.int64]) -> Pixels:
        return self.squares[np.asarray(rows, dtype=np.int64)]


def plant(
    table: LesionTable, names: Sequence[str], recipe: Recipe, change: Change, *, seed: int
) -> Planted:
    """A changed copy of each image, squared as the recipe says."""
    source = dict(zip(table.names, table.frame["source"], strict=True))
    size, fit = recipe.image.size, recipe.image.fit
    squares = []
    for number, name in enumerate(names):
        photograph = decode_image((table.folder / source[name]).read_bytes()).pixels
        changed = change(Image.fromarray(photograph), np.random.default_rng([seed, number]))
        squares.append(make_square(np.asarray(changed), size=size, fit=fit))
    return Planted(np.stack(squares))


def measure_recall(
    table: LesionTable, array: ImageArray, recipe: Recipe, *, images: int, among: int, seed: int
) -> dict[str, dict[str, Any]]:
    """By change: how many copies were found, and their lowest similarities."""
    rows = np.random.default_rng(seed).permutation(len(array))[:among]
    drawn = rows[:images]
    names = [array.names[row] for row in drawn]
    found = {}
    for what, change in CHANGES.items():
        copies = plant(table, names, recipe, change, seed=seed)
        pairs = near_duplicates_between(array, copies, rows=rows.tolist(), threshold=0.0)
        alike = {(pair.first, pair.second): pair.similarity for pair in pairs}
        scores = np.sort([alike.get((int(row), at), 0.0) for at, row in enumerate(drawn)])
        caught = int((scores >= THRESHOLD).sum())
        found[what] = {
            "planted": len(scores),
            "found": caught,
            "recall": caught / len(scores),
            "lowest": [round(float(score), 3) for score in scores[:3]],
            "median": round(float(np.median(scores)), 3),
        }
        print(
            f"{what:30s} {caught:4d} of {len(scores)} found ({caught / len(scores):.2%}), "
            f"median {np.median(scores):.3f}, lowest {found[what]['lowest']}",
            flush=True,
        )
    return found


def find_natural(array: ImageArray) -> tuple[list[NearPair], float]:
    """The folder's own pairs from a similarity far below the threshold, and the seconds it took."""
    start = time.perf_counter()
    copies = {later for _, later in exact_duplicates(array.row_digests)}
    rows = [row for row in range(len(array)) if row not in copies]
    return near_duplicates(array, rows=rows, threshold=_STRANGERS_FROM), time.perf_counter() - start


def strangers(pairs: list[NearPair], array: ImageArray, table: LesionTable) -> list[NearPair]:
    """Those that the table calls different lesions, or different patients without lesions."""
    lesions = (table.frame["lesion_id"] != "").any()
    key = dict(zip(table.names, table.frame["lesion_id" if lesions else "patient_id"], strict=True))
    return [p for p in pairs if key[array.names[p.first]] != key[array.names[p.second]]]


def save_sheet(path: Path, pairs: Sequence[NearPair], array: ImageArray) -> None:
    tiles = [
        (
            Tile(
                array.rows([pair.first])[0], (array.names[pair.first], *pair.relation.split(", "))
            ),
            Tile(
                array.rows([pair.second])[0], (array.names[pair.second], f"{pair.similarity:.3f}")
            ),
        )
        for pair in pairs
    ]
    rows = [
        [tile for pair in tiles[at : at + 3] for tile in pair] for at in range(0, len(tiles), 3)
    ]
    save_contact_sheet(path, rows, title=f"Called different, most alike first; {THRESHOLD} joins")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--arrays", type=Path, help="prepared arrays; a temporary one if absent")
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--among", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sheet", type=Path, help="contact sheet of the strangers most alike")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    recipe = load_recipe(options.config)
    with tempfile.TemporaryDirectory() as scratch:
        start = time.perf_counter()
        array = prepare_array(recipe, options.data, options.arrays or Path(scratch))
        prepared = time.perf_counter() - start
        table = read_lesions(options.data, recipe.data, classes=recipe.classes)
        pairs, seconds = find_natural(array)
        apart = strangers(pairs, array, table)
        joined = [pair for pair in pairs if pair.similarity >= THRESHOLD]
        print(f"{len(array):,} images of {array.size} px: prepared in {prepared:.1f} s")
        print(f"searched in {seconds:.1f} s: {len(joined)} pairs at {THRESHOLD} or above")
        print("called different by the table, most alike first:")
        for pair in apart[:20]:
            names = f"{array.names[pair.first]} {array.names[pair.second]}"
            print(f"  {pair.similarity:.3f} {names} {pair.relation}")
        if options.sheet:
            save_sheet(options.sheet, apart[:36], array)
        recall = measure_recall(
            table,
            array,
            recipe,
            images=options.images,
            among=options.among,
            seed=options.seed,
        )
    if options.json:
        figures = {
            **run_facts("near_duplicates"),
            "images": len(array),
            "size": array.size,
            "among": min(options.among, len(array)),
            "threshold": THRESHOLD,
            "prepare_seconds": round(prepared, 1),
            "search_seconds": round(seconds, 1),
            "pairs": len(joined),
            "called_different": [
                [array.names[p.first], array.names[p.second], round(p.similarity, 3), p.relation]
                for p in apart[:20]
            ],
            "recall": recall,
        }
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
