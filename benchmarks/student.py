"""One network in the place of an ensemble, on images that neither has seen.

    python -m benchmarks.student --work DIR [--shared ../shared]     # an hour on a CPU core

HAM10000 at 64 px (configs/ham10000_melanoma.yaml) with a fifth of its patients apart as the test
part. Five folds make the ensemble; students learn what all of its members say of the training
images. The test part is scored once by each: the ensemble over its views, one of its members, and
the students over one, two and four views. AUROCs are paired by resamples of the test part's
patients. All that was tried is in the table. DIR keeps arrays, folds and weights: the same command
goes on.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.door import run_door
from benchmarks.facts import run_facts
from melanoma.data.arrays import load_array
from melanoma.data.folds import load_folds
from melanoma.data.images import Pixels
from melanoma.evaluation.compare.paired import compare_runs
from melanoma.evaluation.metrics.ranking import auroc
from melanoma.recipe.overrides import load_recipe
from melanoma.scoring.bundle.golden import open_scorer
from melanoma.scoring.scorer import Scorer
from melanoma.storage import write_json
from melanoma.types import Floats

CONFIG = "ham10000_melanoma"
HOLDOUT = 0.2
OUT = Path("results/benchmarks/student.json")
_BATCH = 32
VIEWS = (1, 2, 4)  # of a student
_MEMBER = "ensemble/fold_0/model.safetensors"
_LONGER = ("--set", "training.epochs=8")  # the members and the other students have four
# How each starts: as the members did where nothing is said.
STUDENTS: dict[str, tuple[str, ...]] = {
    "student": (),
    "student_from_a_member": ("--pretrained", _MEMBER),
    "student_from_a_member_longer": ("--pretrained", _MEMBER, *_LONGER),
    "student_from_the_mean": ("--start", "members"),
    "student_from_the_mean_longer": ("--start", "members", *_LONGER),
}


def train(work: Path, data: Path, start: Path, more: Sequence[str]) -> None:
    """The ensemble and its students, made or resumed."""
    base = [
        *("--config", CONFIG, "--data", str(data / "ham10000"), "--arrays", str(work / "arrays")),
        *("--set", f"folds.holdout={HOLDOUT}"),
        *(word for setting in more for word in ("--set", setting)),
    ]
    folds = ["--folds", str(work / "folds.csv")]
    started = ["--pretrained", str(start)]
    ensemble = ["--weights", str(work / "ensemble")]
    if not (work / "folds.csv").is_file():
        run_door("prepare", *base)
        run_door("split", *base, *folds)
    run_door("train", "--fold", "all", *base, *folds, *started, *ensemble)
    # Sealed once: the students' soft targets are of that seal.
    if not (work / "ensemble" / "manifest.json").is_file():
        run_door("evaluate", *base, *folds, *started, *ensemble)
    for name, asked in STUDENTS.items():
        if (work / name / "manifest.json").is_file():
            continue
        places = {_MEMBER: str(work / _MEMBER)}
        run_door(
            *("distill", str(work / "ensemble"), "--fold", "0", "--members", "all"),
            *("--allow-leak", *base, *folds),
            *(places.get(word, word) for word in asked or started),
            *("--set", "evaluation.views=1", "--weights", str(work / name)),
        )


def compare(work: Path) -> dict[str, Any]:
    """Each answer's AUROC on the test part, and what it has less than the ensemble."""
    ensemble = open_scorer(work / "ensemble")
    member = ensemble.of_fold(0)
    scorers = {
        "ensemble": ensemble,
        "member": member,
        "member_of_one_view": member.on(member.members, views=1),
        **{
            _name(name, views): student.on(student.members, views=views)
            for name in STUDENTS
            for student in [open_scorer(work / name)]
            for views in VIEWS
        },
    }
    recipe = load_recipe(work / "ensemble" / "recipe.yaml")
    test = load_folds(work / "folds.csv", classes=recipe.classes).test
    array = load_array(work / "arrays", recipe.image)
    assert array is not None
    squares = array.rows(np.array([array.row_of[name] for name in test["image_name"]]))
    target, groups = test["target"].to_numpy(np.int64), pd.factorize(test["group"])[0]
    answers = {name: _score(scorer, squares) for name, scorer in scorers.items()}
    first, _ = answers["ensemble"]
    found: dict[str, Any] = {"images": len(test), "melanomas": int(target.sum()), "scored": {}}
    for name, (scores, seconds) in answers.items():
        compared = compare_runs(
            {"auroc": auroc(target, scores)},
            {"auroc": auroc(target, first)},
            groups,
            resamples=2000,
            rng=np.random.default_rng(0),
        )["auroc"]
        found["scored"][name] = {
            "networks": len(scorers[name].members.folds),
            "views": scorers[name].views,
            "ms_an_image": round(1000 * seconds / len(test), 2),
            "auroc": compared.first.measured().model_dump(),
            "less_the_ensemble": compared.difference.measured().model_dump(),
        }
    return found


def _name(student: str, views: int) -> str:
    return f"{student}_of_{views}_views" if views > 1 else student


def _score(scorer: Scorer, squares: Pixels) -> tuple[Floats, float]:
    """(N,) probabilities of melanoma, and the seconds that they took."""
    melanoma = scorer.bundle.melanoma_columns
    parts = np.array_split(squares, -(-len(squares) // _BATCH))
    scorer.member_probabilities(parts[0])
    start = time.monotonic()
    means = [scorer.member_probabilities(part).mean(axis=1) for part in parts]
    return np.concatenate(means)[:, melanoma].sum(axis=1), time.monotonic() - start


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="arrays, folds, weights")
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="with data/")
    parser.add_argument("--set", action="append", default=[], help="of the recipe, to try it")
    parser.add_argument("--out", type=Path, default=OUT, help="the JSON to write")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    data = given.shared / "data"
    start = data / "weights" / "mobilenet_v2_imagenet.safetensors"
    train(given.work, data, start, given.set)
    found = compare(given.work)
    write_json(given.out, {**run_facts("student"), **found})
    for name, one in found["scored"].items():
        print(name, round(one["auroc"]["value"], 4), one["less_the_ensemble"], one["ms_an_image"])


if __name__ == "__main__":
    main()
