"""The model that ships against the one that it takes the place of, wherever both were measured.

    git archive COMMIT results/dermoscopy_mobilenet | tar x -C DIR
    python -m benchmarks.before DIR/results/dermoscopy_mobilenet --commit COMMIT

On HAM10000's held-out images, on what each member held out of the other sources, and on each set
that the same training lacked (results/NAME/external): AUROC, and at home the seven classes' mean,
paired by resamples of patients or lesions. What the older report said at its thresholds and of its
calibration stands beside. Writes results/NAME/before.json.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.facts import run_facts
from benchmarks.paired import Images, Pair, compare
from benchmarks.shipped import RESULTS
from melanoma.evaluation.metrics.ranking import auroc
from melanoma.storage import write_json
from melanoma.workflows.compare import compare_runs_in

AT_HOME = ("auroc", "macro_auroc")
FILES = {"by_fifths": "sources/*.csv.gz", "without_its_like": "external/*/scores.csv"}
NAMES = ("the model that ships", "the one before")


def compare_tables(first: Path, second: Path) -> Pair:
    """The AUROC of two tables on the first one's images, all of which the second has too: since
    `evaluate --unseen` a set has fewer. Raises ValueError for others."""
    ours, theirs = (_table(path) for path in (first, second))
    if not set(ours.index) <= set(theirs.index):
        raise ValueError(f"{second} is not of the images of {first}")
    theirs = theirs.loc[ours.index]
    # What is judged decides the pairs: a label that changed would be a difference of no model.
    if not (ours["melanoma"] == theirs["melanoma"]).all():
        raise ValueError(f"{second} has other labels than {first}")
    melanoma = ours["melanoma"].to_numpy(np.int64)
    images = Images(melanoma, pd.factorize(ours["group"])[0].astype(np.int64))
    first_auroc, second_auroc = (
        [auroc(melanoma, one["prob"].to_numpy(np.float64))] for one in (ours, theirs)
    )
    question = first.name.partition(".")[0]
    return compare(question, NAMES, "AUROC", first_auroc, second_auroc, images)


def _table(path: Path) -> pd.DataFrame:
    """By image: group, melanoma and the bundle's probability."""
    frame = pd.read_csv(path, dtype={"image_name": str, "group": str}).set_index("image_name")
    return frame.assign(melanoma=frame["melanoma" if "melanoma" in frame else "target"])


def compare_folders(ours: Path, theirs: Path) -> dict[str, Any]:
    """Every comparison of two results folders of one recipe, as plain values."""
    home = compare_runs_in(ours, theirs, metrics=list(AT_HOME), resamples=2000, seed=0)
    parts: dict[str, Any] = {"at_home": home.model_dump(mode="json", include={"images", "metrics"})}
    for part, files in FILES.items():
        found = {}
        for path in sorted(ours.glob(files)):
            other = theirs / path.relative_to(ours)
            if other.is_file():
                where = path.parent.name if part == "without_its_like" else path.name
                found[where.partition(".")[0]] = compare_tables(path, other).as_dict()
        parts[part] = found
    return parts


def said_before(folder: Path) -> dict[str, Any]:
    """What the report in `folder` said of other sets: at the threshold, and of calibration."""
    report = json.loads((folder / "report.json").read_text())
    fifths = {one["name"]: one["held_out"] for one in report["sources"] if one.get("held_out")}
    others = {one["name"]: one for one in report["external_results"] if one["without"]}
    wanted = ("sensitivity", "specificity", "ece", "ece_at_own_share", "within_patient_concordance")
    return {
        part: {
            name: {key: line[key] for key in wanted if line.get(key) is not None}
            for name, line in lines.items()
        }
        for part, lines in (("by_fifths", fifths), ("without_its_like", others))
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", type=Path, help="the older results, of the same name")
    parser.add_argument("--commit", required=True, help="what they were committed as")
    parser.add_argument("--out", type=Path, default=RESULTS / "before.json")
    given = parser.parse_args()
    compared = compare_folders(RESULTS, given.before)
    beside = {"before": given.commit, **compared, "said_before": said_before(given.before)}
    write_json(given.out, {**run_facts("before"), **beside})
    for part in ("by_fifths", "without_its_like"):
        for name, pair in compared[part].items():
            print(part, name, pair["a"]["value"], pair["b"]["value"], pair["difference"])


if __name__ == "__main__":
    main()
