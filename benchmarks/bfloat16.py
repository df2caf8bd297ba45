"""What bfloat16 changes of the shipped bundle's answers, on the images that its members never saw.

    python -m benchmarks.bfloat16 [--every 5]

HAM10000's held-out images (../shared/data) by all members, as they are served: OpenVINO, the
bundle's views, its calibration; the AUROC is of each image's member that was trained without it. In
float32 and in bfloat16, on the same squares. `--every N` takes each N-th image of the shipped
model's oof.csv.gz. Writes results/benchmarks/bfloat16.json, which benchmarks/reseal_shipped.py
seals; of a run of one's own `python -m melanoma.evaluate --bfloat16` measures the same.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.facts import run_facts
from benchmarks.shipped import OOF, WEIGHTS
from melanoma.data.images import Pixels, decode_image
from melanoma.evaluation.report.schema_rounding import MOST_AUROC, MOST_PROBABILITY
from melanoma.scoring.backends.backend_catalog import Engine
from melanoma.scoring.backends.core import import_openvino
from melanoma.scoring.bundle.golden import open_scorer
from melanoma.scoring.held_out import score_by_all
from melanoma.scoring.rounding import measure_rounding
from melanoma.scoring.scorer import Scorer
from melanoma.storage import write_json

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"


class Photographs:
    """Rows that are photographs, squared as the scorer's bundle wants them."""

    def __init__(self, files: list[Path], scorer: Scorer) -> None:
        self.files, self.scorer = files, scorer

    def rows(self, rows: np.ndarray) -> Pixels:
        with ThreadPoolExecutor(2) as pool:
            return np.stack(list(pool.map(self._square, rows)))

    def _square(self, row: int) -> Pixels:
        return self.scorer.square(decode_image(self.files[row].read_bytes()).pixels)


def _worst(table: pd.DataFrame, found: np.ndarray) -> list[dict[str, Any]]:
    """The five images that moved most, each in the class that did."""
    moved = np.abs(found[1] - found[0])
    rows = np.argsort(-moved.max(axis=1))[:5]
    return [
        {
            "image": str(table["image_name"].iloc[row]),
            "fold": int(table["fold"].iloc[row]),
            "before": round(float(found[0, row, moved[row].argmax()]), 4),
            "after": round(float(found[1, row, moved[row].argmax()]), 4),
        }
        for row in rows
    ]


def main() -> None:
    """Measure, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--out", type=Path, default=ROOT / "results/benchmarks/bfloat16.json")
    given = parser.parse_args()
    table = pd.read_csv(OOF).iloc[:: given.every]
    places = {path.stem: path for path in (DATA / "ham10000").rglob("*.jpg")}
    files = [places[name] for name in table["image_name"]]
    kinds = ("float32", "bfloat16")
    scorers = [open_scorer(WEIGHTS, engine=Engine("openvino", kind)) for kind in kinds]
    bundle = scorers[0].bundle
    source, rows = Photographs(files, scorers[0]), np.arange(len(files))
    folds = table["fold"].to_numpy(np.int64)
    found = np.stack([score_by_all(one, source, rows) for one in scorers])
    assert bundle.threshold is not None
    change = measure_rounding(
        found[0],
        found[1],
        np.searchsorted(scorers[0].members.folds, folds),
        table["melanoma"].to_numpy(bool),
        melanoma=bundle.melanoma_columns,
        threshold=bundle.threshold.value,
        backend=scorers[0].members.backend,
    )
    figures = {
        **run_facts("bfloat16"),
        "openvino": import_openvino().__version__,
        "views": scorers[0].views,
        **change.model_dump(),
        "allowed": {"auroc_change": MOST_AUROC, "largest_change": MOST_PROBABILITY},
        "holds": change.holds,
        "worst": _worst(table, found.mean(axis=2)),
    }
    write_json(given.out, figures)
    print(figures)


if __name__ == "__main__":
    main()
