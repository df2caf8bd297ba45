"""What the shipped bundle says of phone photographs: how many it refuses, and what is left.

    nice python -m benchmarks.smartphone [--data DIR] [--out FILE]

Photographs of ../shared/data/smartphone_pad (PAD-UFES-20, CC BY 4.0, Pacheco et al. 2020), which
holds no melanoma, or of DIR (images/, and metadata.csv with img_id and diagnostic), by `predict`'s
own path on a CPU. It tells how often such a picture is turned away, and nothing of how well one is
judged. The same pictures stand in benchmarks/novelty.py and quality.py, so others may be refused a
little less often. Writes results/benchmarks/smartphone.json.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from benchmarks.facts import run_facts
from benchmarks.shipped import WEIGHTS
from melanoma.scoring.bundle.golden import open_scorer
from melanoma.scoring.files.find import find_images
from melanoma.scoring.files.score_files import LocalScorer, score_files
from melanoma.scoring.files.score_rows import Row
from melanoma.storage import write_json

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data" / "smartphone_pad"
OUT = ROOT / "results" / "benchmarks" / "smartphone.json"
SOURCE = (
    "PAD-UFES-20, longest side 256 pixels, no melanoma among them, and looked at while novelty and "
    "quality were built (Pacheco et al. 2020)"
)


def main() -> None:
    """Score, count and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    torch.set_num_threads(1)
    scorer = LocalScorer(open_scorer(WEIGHTS, device=torch.device("cpu")))
    table = pd.read_csv(given.data / "metadata.csv").set_index("img_id")
    files = find_images([given.data / "images"], say=print)
    rows = score_files(scorer, files, progress=lambda steps, **_: steps)
    diagnoses = [str(table.loc[Path(row["image_name"]).stem, "diagnostic"]) for row in rows]
    found = {"source": SOURCE, **count(rows, diagnoses), "run": run_facts("smartphone")}
    write_json(given.out, found)
    print(found)


def count(rows: Sequence[Row], diagnoses: Sequence[str]) -> dict[str, Any]:
    """Rows of `predict` and their diagnoses, counted: `refused` are novel, stopped by quality or
    both; `left` are the verdicts of the others."""
    scored = [row for row in rows if not row["error"]]
    novel = sum(bool(row["is_novel"]) for row in scored)
    stopped = sum(row["quality_ok"] is False for row in scored)
    refused = [row["verdict"] == "unscorable" for row in scored]
    return {
        "images": len(rows),
        "errors": len(rows) - len(scored),
        "diagnoses": dict(Counter(diagnoses)),
        "novel": novel,
        "stopped": stopped,
        "refused": sum(refused),
        "share_novel": novel / len(scored),
        "share_stopped": stopped / len(scored),
        "share_refused": sum(refused) / len(scored),
        "reasons": dict(Counter(_reasons(scored))),
        "left": dict(Counter(row["verdict"] for row in scored if row["verdict"] != "unscorable")),
        "flagged_score": sum(bool(row["flagged"]) for row in scored),
    }


def _reasons(rows: Sequence[Row]) -> list[str]:
    return [one for row in rows for one in row["quality_reasons"].split("; ") if one]


if __name__ == "__main__":
    main()
