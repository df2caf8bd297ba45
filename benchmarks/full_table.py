"""A whole report on SIIM's full table, 33,126 rows, with made-up scores: how long it takes.

python -m benchmarks.full_table --table DIR/train_full.csv [--out FOLDER] [--json]

The scores are drawn: a patient's own effect, an image's, and one for melanomas of such a size that
the AUROC is near 0.9. They say nothing of any model; the table, its patients and folds are real.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from melanoma.data.folds import FoldTable, make_folds
from melanoma.data.readers.reader_catalog import read_lesions
from melanoma.evaluation.render.report_files import save_report
from melanoma.evaluation.report.build import build_report, save_out_of_fold
from melanoma.evaluation.score_table import LOGITS, ScoreTable
from melanoma.recipe.overrides import load_recipe
from melanoma.recipe.recipe import Recipe
from melanoma.training.run.facts import RunFacts

RECIPE = Path(__file__).resolve().parents[1] / "configs" / "siim_seresnext50.yaml"


def simulated_scores(folds: FoldTable, recipe: Recipe, *, seed: int) -> ScoreTable:
    """Logits whose AUROC is near 0.9, alike within a patient."""
    rng = np.random.default_rng(seed)
    frame = folds.frame[["image_name", "patient_id", "group", "label", "target", "fold"]].copy()
    patient = frame["group"].astype("category").cat.codes.to_numpy()
    own = rng.normal(scale=0.6, size=patient.max() + 1)[patient]
    logit = -4.5 + own + rng.normal(size=len(frame)) + 2.1 * frame["target"].to_numpy()
    for name in LOGITS:
        frame[name] = logit
    return ScoreTable(frame, recipe.classes)


def run_facts(folds: FoldTable) -> list[RunFacts]:
    """What a trained fold's run.json would say, as far as a report reads it."""
    kinds = ("patients", "lesions", "groups")
    shared: dict[str, Any] = {
        "audit": {
            **dict.fromkeys(kinds, 0),
            **dict.fromkeys(("identical", "near_duplicates"), None),
            "findings": [],
        },
        "prior_shift": 0.0,
        "kept": "last",
        "best_epoch": 1,
        "last_epoch": 1,
        "seconds": 0.0,
        "recipe_digest": "simulated",
        "folds_digest": folds.digest,
        "array_digest": "simulated",
        "versions": {"python": platform.python_version()},
        "device": "none",
        "precision": "none",
        "pretrained": "simulated scores: no model",
    }
    return [RunFacts.model_validate({**shared, "fold": fold}) for fold in folds.folds]


def measure(table: Path, out: Path, *, resamples: int) -> dict[str, Any]:
    """Seconds of the split, of the report's numbers, and of its files."""
    overrides = ("name=simulated", f"evaluation.resamples={resamples}")
    recipe = load_recipe(RECIPE, overrides)
    with TemporaryDirectory() as folder:
        (Path(folder) / "train.csv").write_bytes(table.read_bytes())
        lesions = read_lesions(Path(folder), recipe.data, classes=recipe.classes)
    start = time.perf_counter()
    folds = make_folds(lesions, recipe.folds)
    split = time.perf_counter()
    scores, facts = simulated_scores(folds, recipe, seed=0), run_facts(folds)
    report = build_report(recipe, scores, facts, table=folds.frame)
    built = time.perf_counter()
    save_out_of_fold(report, scores, facts, out / "oof.csv")
    save_report(report, recipe, out)
    written = time.perf_counter()
    return {
        "rows": len(folds),
        "patients": int(folds.frame["patient_id"].nunique()),
        "resamples": resamples,
        "split_seconds": round(split - start, 2),
        "report_seconds": round(built - split, 2),
        "files_seconds": round(written - built, 2),
        "auroc": report.content.metrics["auroc"].model_dump(),
        "date": datetime.now(UTC).date().isoformat(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", type=Path, required=True, help="SIIM's train.csv, all rows")
    parser.add_argument("--out", type=Path, help="where to keep the report (default: nowhere)")
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        found = measure(given.table, given.out or Path(folder), resamples=given.resamples)
    if given.json:
        print(json.dumps(found, indent=2))
        return
    for name, value in found.items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    main()
