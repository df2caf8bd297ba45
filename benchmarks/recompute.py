"""A run's report once more, from oof.csv and the fold file alone: no images, weights or GPU.

python -m benchmarks.recompute results/siim_mobilenet --folds folds/siim2020.csv [--arrays DIR]

Writes report.json, report.html, MODEL_CARD.md, oof.csv and figures/ into the folder (or --out).
What only the training knew (epochs, seconds, versions) is taken from the report that is there, of
format 1 or 2. With --arrays, photographs that are one are looked for across the folds.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from melanoma.data.arrays import load_array
from melanoma.data.duplicate_search import find_duplicates
from melanoma.data.folds import FoldTable, load_folds
from melanoma.data.leaks import audit_folds
from melanoma.errors import DataError
from melanoma.evaluation.report import Report, build_report, save_out_of_fold
from melanoma.evaluation.report_files import save_report
from melanoma.evaluation.scores import LOGITS, ScoreTable, logit_columns
from melanoma.recipe import Recipe, load_recipe


def recompute(folder: Path, fold_file: Path, *, arrays: Path | None, out: Path) -> Report:
    """The report of the run in `folder`, written into `out`. Raises DataError for other folds."""
    recipe = load_recipe(folder / "recipe.yaml")
    stated = json.loads((folder / "report.json").read_text())
    folds = load_folds(fold_file, classes=recipe.classes)
    if folds.digest != stated["digests"]["folds_digest"]:
        raise DataError(f"{folder} was made on other folds than {fold_file}")
    facts = _facts(stated, _audit(folds, recipe, arrays))
    scores = _scores(folder / "oof.csv", recipe, facts)
    report = build_report(
        recipe,
        scores,
        facts,
        table=folds.frame,
        folds_expected=stated["folds_expected"],
    )
    save_out_of_fold(report, scores, facts, out / "oof.csv")
    save_report(report, recipe, out)
    return report


def _audit(folds: FoldTable, recipe: Recipe, arrays: Path | None) -> dict[str, Any]:
    array = load_array(arrays, recipe.image) if arrays else None
    if array is None or arrays is None:
        return audit_folds(folds).as_facts()
    found = find_duplicates(array, arrays)
    return audit_folds(folds, found.among(array.names, folds.whole["image_name"])).as_facts()


def _facts(stated: dict[str, Any], audit: dict[str, Any]) -> list[dict[str, Any]]:
    """What each fold's run.json said, as far as the report repeats it."""
    shared = {
        **stated["digests"],
        **{key: stated[key] for key in ("versions", "device", "precision", "pretrained")},
        "kept": stated["selection"]["kept"],
        "audit": audit,
    }
    shift = stated["calibration"]["prior_shift"]
    return [{**shared, **line, "prior_shift": shift[str(line["fold"])]} for line in stated["folds"]]


def _scores(path: Path, recipe: Recipe, facts: list[dict[str, Any]]) -> ScoreTable:
    """oof.csv as a ScoreTable, each fold's prior shift put back into its logits."""
    frame = pd.read_csv(path, dtype={"patient_id": str, "group": str}, keep_default_na=False)
    frame["label"] = np.array(recipe.classes)[frame["target"]]
    shift = {fact["fold"]: np.atleast_1d(fact["prior_shift"]) for fact in facts}
    added = np.stack([shift[fold] for fold in frame["fold"]])
    columns = ["image_name", "patient_id", "group", "label", "target", "fold"]
    for name in LOGITS:
        own = [name] if recipe.is_binary else logit_columns(name, recipe.classes)
        frame[own] = frame[own].to_numpy(np.float64) + added
        columns += own
    return ScoreTable(frame[columns], recipe.classes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="an evaluated run: weights/RECIPE, results/NAME")
    parser.add_argument("--folds", type=Path, required=True, help="its fold file")
    parser.add_argument("--arrays", type=Path, help="its arrays, for the leak audit")
    parser.add_argument("--out", type=Path, help="where to write (default: the folder itself)")
    given = parser.parse_args()
    out = given.out or given.folder
    report = recompute(given.folder, given.folds, arrays=given.arrays, out=out)
    auroc = report.content["metrics"].get("auroc", report.content["metrics"].get("macro_auroc"))
    print(f"{out}: AUROC {auroc['value']:.4f} ({auroc['low']:.4f} to {auroc['high']:.4f})")


if __name__ == "__main__":
    main()
