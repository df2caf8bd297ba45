"""The page's eight sample pictures: phantoms, drawn here, no patient's photograph.

    python -m benchmarks.page_samples

Writes api/page/samples/phantom_1.jpg to phantom_8.jpg and samples.json, which says what each was
drawn as. tests/browser/test_samples.py compares the committed files with what this draws.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from melanoma.data.images import Pixels
from melanoma.data.phantoms.drawing import draw_phantom
from melanoma.storage import write_bytes, write_json

FOLDER = Path(__file__).resolve().parents[1] / "api/page/samples"
SIZE = 256
_QUALITY = 85
# Chosen by eye for eight different looks, before any model had seen them.
_DRAWN = (
    (0, True),
    (1, False),
    (7, False),
    (2, True),
    (11, False),
    (4, True),
    (8, True),
    (3, False),
)


class Sample(NamedTuple):
    """A picture, (SIZE, SIZE, 3) uint8 RGB, and the class that it was drawn as."""

    file: str
    actual: str
    pixels: Pixels


def draw_samples() -> list[Sample]:
    """The eight samples, in the page's order; the same on every machine but for rounding."""
    return [
        Sample(
            f"phantom_{number}.jpg",
            "melanoma" if melanoma else "benign",
            draw_phantom(melanoma=melanoma, rng=np.random.default_rng([2026, seed]), size=SIZE),
        )
        for number, (seed, melanoma) in enumerate(_DRAWN, start=1)
    ]


def write_samples(folder: Path = FOLDER) -> None:
    """Write the pictures and samples.json into `folder`."""
    samples = draw_samples()
    folder.mkdir(parents=True, exist_ok=True)
    for sample in samples:
        encoded = io.BytesIO()
        Image.fromarray(sample.pixels).save(encoded, "JPEG", quality=_QUALITY)
        write_bytes(folder / sample.file, encoded.getvalue())
    rows = [{"file": sample.file, "actual": sample.actual} for sample in samples]
    write_json(folder / "samples.json", rows)


if __name__ == "__main__":
    write_samples()
