"""A run's report once more, from oof.csv and the fold file alone: no images, weights or GPU.

python -m benchmarks.recompute results/siim_mobilenet --folds folds/siim2020.csv [--arrays DIR]
python -m benchmarks.recompute results/* --check

Writes report.json, report.html, MODEL_CARD.md, oof.csv and figures/ into the folder (or --out).
What only the training knew (epochs, seconds, versions) is taken from the report that is there, of
format 1 or 2. With --arrays, photographs that are one are looked for across the folds.
--check writes nothing and needs no fold file: every number of the report that oof.csv alone decides
is computed again, and a difference ends it with exit code 1.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from melanoma.data.arrays import load_array
from melanoma.data.duplicates.search import find_duplicates
from melanoma.data.folds import FoldTable, load_folds
from melanoma.data.leaks import audit_folds
from melanoma.errors import DataError
from melanoma.evaluation.metrics.metric_catalog import METRICS
from melanoma.evaluation.metrics.ranking import auroc
from melanoma.evaluation.number_format import measured
from melanoma.evaluation.render.report_files import save_report
from melanoma.evaluation.report.build import Report, build_report, save_out_of_fold
from melanoma.evaluation.score_table import (
    LOGITS,
    ScoreTable,
    find_out_of_fold,
    logit_columns,
)
from melanoma.recipe.overrides import load_recipe
from melanoma.recipe.recipe import Recipe
from melanoma.training.run.facts import RunFacts

# What oof.csv decides, with what the report itself says of the training.
DECIDED = (
    *("data", "metrics", "cross_checks", "selection", "folds", "thresholds", "calibration"),
    # Not curves: which of their points are kept changes with ties, and so with the table's digits.
    *("per_class", "confusion", "net_benefit"),
)


def recompute(folder: Path, fold_file: Path, *, arrays: Path | None, out: Path) -> Report:
    """The report of the run in `folder`, written into `out`. Raises DataError for other folds."""
    recipe = load_recipe(folder / "recipe.yaml")
    stated = json.loads((folder / "report.json").read_text())
    folds = load_folds(fold_file, classes=recipe.classes)
    if folds.digest != stated["digests"]["folds_digest"]:
        raise DataError(f"{folder} was made on other folds than {fold_file}")
    facts = _facts(stated, _audit(folds, recipe, arrays))
    scores = _scores(find_out_of_fold(folder), recipe, facts)
    report = build_report(
        recipe,
        scores,
        facts,
        table=folds.frame,
        folds_expected=stated["folds_expected"],
    )
    save_out_of_fold(report, scores, facts, find_out_of_fold(out))
    save_report(report, recipe, out)
    return report


def report_of_scores(folder: Path) -> Report:
    """What the oof.csv of `folder` decides, and what its report says of the training."""
    recipe = load_recipe(folder / "recipe.yaml")
    stated = json.loads((folder / "report.json").read_text())
    facts = _facts(stated, stated["leaks"])
    scores = _scores(find_out_of_fold(folder), recipe, facts)
    return build_report(recipe, scores, facts, folds_expected=stated["folds_expected"])


def check(folder: Path, *, tolerance: float = 1e-4) -> list[str]:
    """Where the report of `folder` says otherwise than its oof.csv: `path: stated, recomputed`.

    All but what the fold file's further columns, the photographs or the training decide. The
    tolerance is absolute; the tables of results/ have seven digits.
    """
    stated = json.loads((folder / "report.json").read_text())
    found = report_of_scores(folder).content.model_dump(mode="json")
    # Reports from before there were figures within patients have none of these to be wrong.
    for name, spec in METRICS.items():
        if spec.needs == "patients" and name not in stated["metrics"]:
            found["metrics"].pop(name, None)
    found["net_benefit"] = _at_the_stated(found["net_benefit"], stated["net_benefit"])
    return [
        line
        for key in DECIDED
        if key in stated
        for line in _compare(key, stated[key], found[key], tolerance)
    ]


def _at_the_stated(found: Any, stated: Any) -> Any:
    """The decision curve at the points that the report states: earlier ones began further up."""
    if not found or not stated:
        return found
    first = stated["thresholds"][0] - 1e-9
    kept = sum(threshold < first for threshold in found["thresholds"])
    return {name: values[kept:] for name, values in found.items()}


def check_scores(folder: Path, *, tolerance: float = 1e-4) -> list[str]:
    """The same for a test part or an external set, whose scores are in scores.csv.

    The melanoma AUROC, the Brier score, and at each threshold the four counts.
    """
    stated = json.loads((folder / "report.json").read_text())
    frame = pd.read_csv(folder / "scores.csv", keep_default_na=False)
    column = "melanoma" if "melanoma" in frame else "target"
    target, probability = frame[column].to_numpy(np.int64), frame["prob"].to_numpy(np.float64)
    ones = np.ones((1, len(frame)))
    pairs: list[tuple[str, Any, Any]] = [
        ("data.images", stated["data"]["images"], len(frame)),
        (
            "metrics.auroc",
            stated["metrics"]["auroc"]["value"],
            float(auroc(target, probability)(ones)[0]),
        ),
        (
            "calibration.after.brier",
            stated["calibration"]["after"]["brier"]["value"],
            float(((probability - target) ** 2).mean()),
        ),
    ]
    for number, point in enumerate(stated["thresholds"]):
        flagged = probability >= point["value"]
        counts = {
            "true_positives": int((flagged & (target == 1)).sum()),
            "false_positives": int((flagged & (target == 0)).sum()),
            "false_negatives": int((~flagged & (target == 1)).sum()),
            "true_negatives": int((~flagged & (target == 0)).sum()),
        }
        pairs += [(f"thresholds.{number}.{key}", point[key], counts[key]) for key in counts]
    return [line for pair in pairs for line in _compare(*pair, tolerance)]


def _compare(path: str, stated: Any, found: Any, tolerance: float) -> Iterator[str]:
    if isinstance(stated, dict) and isinstance(found, dict):
        # What a report does not state, such as one from before there was it, cannot be wrong.
        for key in stated:
            yield from _compare(f"{path}.{key}", stated.get(key), found.get(key), tolerance)
    elif isinstance(stated, list) and isinstance(found, list) and len(stated) == len(found):
        for number, pair in enumerate(zip(stated, found, strict=True)):
            yield from _compare(f"{path}.{number}", *pair, tolerance)
    elif isinstance(stated, float) and isinstance(found, float | int):
        if not abs(stated - found) <= tolerance:
            yield f"{path}: {stated}, recomputed {found}"
    elif stated != found:
        yield f"{path}: {stated}, recomputed {found}"


def _audit(folds: FoldTable, recipe: Recipe, arrays: Path | None) -> dict[str, Any]:
    array = load_array(arrays, recipe.image) if arrays else None
    if array is None or arrays is None:
        return audit_folds(folds).as_facts()
    found = find_duplicates(array, arrays)
    names = folds.whole["image_name"].tolist()
    return audit_folds(folds, found.among(array.names, names)).as_facts()


def _facts(stated: dict[str, Any], audit: dict[str, Any]) -> list[RunFacts]:
    """What each fold's run.json said, as far as the report repeats it."""
    shared = {
        **stated["digests"],
        **{key: stated[key] for key in ("versions", "device", "precision", "pretrained")},
        "kept": stated["selection"]["kept"],
        "audit": audit,
    }
    shift = stated["calibration"]["prior_shift"]
    return [
        RunFacts.model_validate({**shared, **line, "prior_shift": shift[str(line["fold"])]})
        for line in stated["folds"]
    ]


def _scores(path: Path, recipe: Recipe, facts: list[RunFacts]) -> ScoreTable:
    """oof.csv as a ScoreTable, each fold's prior shift put back into its logits."""
    frame = pd.read_csv(path, dtype={"patient_id": str, "group": str}, keep_default_na=False)
    frame["label"] = np.array(recipe.classes)[frame["target"]]
    shift = {fact.fold: np.atleast_1d(fact.prior_shift) for fact in facts}
    added = np.stack([shift[fold] for fold in frame["fold"]])
    columns = ["image_name", "patient_id", "group", "label", "target", "fold"]
    for name in LOGITS:
        own = [name] if recipe.is_binary else logit_columns(name, recipe.classes)
        frame[own] = frame[own].to_numpy(np.float64) + added
        columns += own
    return ScoreTable(frame[columns], recipe.classes)


def _check_all(folders: list[Path]) -> int:
    wrong = 0
    checks = [(folder, check) for folder in folders]
    for folder in folders:
        within = sorted(path.parent for path in folder.rglob("scores.csv"))
        checks += [(inner, check_scores) for inner in within]
    for folder, of in checks:
        found = of(folder)
        wrong += bool(found)
        print(f"{folder}: {'as its table says' if not found else f'{len(found)} differ'}")
        for line in found[:20]:
            print(f"  {line}")
    return int(wrong > 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "folder", type=Path, nargs="+", help="an evaluated run: weights/RECIPE, results/NAME"
    )
    parser.add_argument("--folds", type=Path, help="its fold file")
    parser.add_argument("--check", action="store_true", help="compare, and write nothing")
    parser.add_argument("--arrays", type=Path, help="its arrays, for the leak audit")
    parser.add_argument("--out", type=Path, help="where to write (default: the folder itself)")
    given = parser.parse_args()
    if given.check:
        sys.exit(_check_all([f for f in given.folder if find_out_of_fold(f).is_file()]))
    if len(given.folder) > 1 or given.folds is None:
        parser.error("one folder, and its fold file by --folds; or --check")
    (folder,) = given.folder
    out = given.out or folder
    report = recompute(folder, given.folds, arrays=given.arrays, out=out)
    auroc = report.content.metrics.get("auroc") or report.content.metrics["macro_auroc"]
    print(f"{out}: AUROC {measured(auroc)}")


if __name__ == "__main__":
    main()
