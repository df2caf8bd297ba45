"""How many damaged WEBPs are refused, and how many sound ones.

    python -m benchmarks.webp_damage --images ../shared/data/ham10000/HAM10000_images

Photographs are saved as WEBP, in several ways, and checked (melanoma.data.webp_structure); then 20
bytes in the middle of each are overwritten. The figures go to results/benchmarks/webp_damage.json.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.facts import run_facts
from melanoma.data.webp_structure import decode_webp, require_spent
from melanoma.errors import ImageError
from melanoma.storage import write_json

OUT = Path("results/benchmarks/webp_damage.json")
WAYS: dict[str, dict[str, Any]] = {
    "lossless": {"lossless": True},
    "quality 30": {"quality": 30, "method": 0},
    "quality 80": {"quality": 80},
    "quality 95": {"quality": 95, "method": 6},
}
BYTES, START, END = 20, 100, 60


def verdict(data: bytes) -> str:
    """undecodable, refused or passed."""
    try:
        decode_webp(data)
    except ValueError:
        return "undecodable"
    try:
        require_spent(data)
    except ImageError:
        return "refused"
    return "passed"


def measure(file: Path, options: dict[str, Any], rng: np.random.Generator) -> tuple[str, str]:
    """The verdicts of the photograph as it is, and damaged."""
    saved = io.BytesIO()
    Image.open(file).convert("RGB").save(saved, "WEBP", **options)
    spoiled = bytearray(saved.getvalue())
    for place in rng.integers(START, len(spoiled) - END, BYTES):
        spoiled[place] = rng.integers(255)
    return verdict(saved.getvalue()), verdict(bytes(spoiled))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    files = sorted(args.images.glob("*.jpg"))
    chosen = [files[n] for n in rng.choice(len(files), min(args.count, len(files)), replace=False)]
    found: dict[str, Any] = {}
    for way, options in WAYS.items():
        pairs = [measure(file, options, rng) for file in chosen]
        found[way] = {
            kind: {v: verdicts.count(v) for v in ("undecodable", "refused", "passed")}
            for kind, verdicts in zip(("sound", "damaged"), zip(*pairs, strict=True), strict=True)
        }
    write_json(args.out, {**run_facts("webp_damage"), "ways": found})
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
