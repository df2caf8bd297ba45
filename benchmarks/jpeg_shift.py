"""How many damaged JPEGs pass, and how many sound photographs would not.

    python -m benchmarks.jpeg_shift --data ../shared/data       # about three minutes

Every JPEG of the folders is measured (melanoma.data.jpeg_shift); then 20 random bytes are
overwritten in the middle of each of the first folder's, as in ../shared/attacks/half_jpeg.py. The
figures go to results/benchmarks/jpeg_shift.json.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.facts import run_facts
from melanoma.data import jpeg_damage
from melanoma.data.jpeg_damage import check_jpeg
from melanoma.data.jpeg_shift import MIN_CLEARNESS, clearest_step
from melanoma.data.jpeg_structure import read_jpeg
from melanoma.errors import ImageError
from melanoma.storage import write_json

OUT = Path("results/benchmarks/jpeg_shift.json")
BYTES, START = 20, 700


def clearness_of(data: bytes) -> float | None:
    """The clearest step of a JPEG that libjpeg decodes without a word; None of another."""
    found: list[float] = []

    def note(*args: Any, **options: Any) -> float:
        found.append(clearest_step(*args, **options))
        return 0.0

    try:
        with patch.object(jpeg_damage, "clearest_step", note):
            check_jpeg(data, read_jpeg(data))
    except ImageError:
        return None
    return found[0] if found else 0.0


def damage(data: bytes, rng: np.random.Generator) -> bytes:
    """The file with some of its coded bytes overwritten."""
    spoiled = bytearray(data)
    for place in rng.integers(START, len(data) - 2, BYTES):
        spoiled[place] = rng.integers(255)
    return bytes(spoiled)


def summary(found: list[float | None]) -> dict[str, Any]:
    """How many there were, how many libjpeg let pass, and what was measured of those."""
    passed = np.array([one for one in found if one is not None])
    return {
        "files": len(found),
        "without_a_warning": len(passed),
        "refused": int((passed >= MIN_CLEARNESS).sum()),
        "largest": [round(float(one), 2) for one in np.sort(passed)[-5:]],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folders of photographs in it")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    folders: dict[str, list[Path]] = {}
    for file in sorted(args.data.rglob("*.jpg")):
        folders.setdefault(file.relative_to(args.data).parts[0], []).append(file)
    sound = {
        name: summary([clearness_of(file.read_bytes()) for file in files])
        for name, files in folders.items()
    }
    rng = np.random.default_rng(0)
    name, files = next(iter(folders.items()))
    damaged = summary([clearness_of(damage(file.read_bytes(), rng)) for file in files])
    write_json(args.out, {**run_facts("jpeg_shift"), "sound": sound, "damaged": {name: damaged}})
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
