"""Color JPEGs without Pillow: whether the pixels are Pillow's, and what decoding takes.

    python -m benchmarks.jpeg_pixels --photographs ../shared/data

Half of the JPEGs below the folder are compared, and a sixth of these saved anew in random sizes,
qualities, samplings and modes of coding. Then some are enlarged, and decoded with all checks, once
in either way in turn. The figures go to results/benchmarks/jpeg_pixels.json.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from PIL import Image

from benchmarks.facts import run_facts
from melanoma.data.images import decode_image
from melanoma.data.jpeg_pixels import decode_jpeg
from melanoma.data.jpeg_structure import read_jpeg
from melanoma.storage import write_json

OUT = Path("results/benchmarks/jpeg_pixels.json")
SIZES = {"1024 x 768": (1024, 768, 40), "4032 x 3024": (4032, 3024, 6)}
_ROUNDS = 5


def is_same(data: bytes) -> bool:
    """Whether the pixels are Pillow's; False too where Pillow had to decode them."""
    image = Image.open(io.BytesIO(data))
    found = decode_jpeg(data, read_jpeg(data), image)
    return found is not None and np.array_equal(found, np.asarray(image))


def save_anew(file: Path, rng: np.random.Generator) -> bytes | None:
    """The photograph in another form; None for a form that Pillow cannot write."""
    width, height = rng.integers(17, 700, 2).tolist()
    picture = Image.open(file).convert("RGB").resize((width, height))
    form: dict[str, Any] = {"quality": int(rng.integers(1, 100)), "progressive": rng.random() < 0.4}
    if rng.random() < 0.3:
        form["restart_marker_blocks"] = int(rng.integers(1, 20))
    if rng.random() < 0.2:
        form["keep_rgb"] = True
    else:
        form["subsampling"] = int(rng.integers(3))
    try:
        return _save(picture, **form)
    except OSError:
        return None


def _save(picture: Image.Image, **form: Any) -> bytes:
    saved = io.BytesIO()
    picture.save(saved, "JPEG", **form)
    return saved.getvalue()


def compare(files: Iterable[bytes | None]) -> dict[str, int]:
    """How many there are, and how many of them have Pillow's pixels."""
    same = [is_same(data) for data in files if data is not None]
    return {"files": len(same), "same": sum(same)}


def time_decoding(photographs: list[Path], width: int, height: int) -> dict[str, float]:
    """Milliseconds of a core a photograph, decoded and checked; the least of some rounds."""
    files = [
        _save(Image.open(p).convert("RGB").resize((width, height)), quality=90) for p in photographs
    ]
    ways = {"libjpeg_turbo_ms": decode_jpeg, "pillow_ms": lambda *_: None}
    took: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(_ROUNDS):
        for name, way in ways.items():
            with mock.patch("melanoma.data.images.decode_jpeg", way):
                start = time.process_time()
                for data in files:
                    decode_image(data)
                took[name].append(1000 * (time.process_time() - start) / len(files))
    return {name: round(min(each), 1) for name, each in took.items()}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photographs", type=Path, required=True, help="JPEGs, at any depth")
    parser.add_argument("--every", type=int, default=2, help="compare each of so many")
    parser.add_argument("--out", type=Path, default=OUT, help="the JSON to write")
    given = parser.parse_args()
    files = sorted(given.photographs.rglob("*.jpg"))[:: given.every]
    rng = np.random.default_rng(0)
    found = {
        "as_they_are": compare(file.read_bytes() for file in files),
        "saved_anew": compare(save_anew(file, rng) for file in files[::6]),
        "decoding": {
            name: time_decoding(files[:count], width, height)
            for name, (width, height, count) in SIZES.items()
        },
    }
    write_json(given.out, {**run_facts("jpeg_pixels"), **found})
    print(found)


if __name__ == "__main__":
    main()
