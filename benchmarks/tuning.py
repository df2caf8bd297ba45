"""A recipe's choices compared inside one fold's training part, so that no reported image chooses.

    python -m benchmarks.tuning [--shared ../shared] [--work runs]

HAM10000's fold 0 is set aside as a test part that nothing here reads; fold 1 validates, folds 2 to
4 train. What won went into configs/ham10000_mobilenet.yaml. Folds 1 to 4 of a later run have been
looked at in this way, by few and coarse choices; fold 0 has not, and the report states it alone.
It starts from weights/imagenet/mobilenet_v2_imagenet.safetensors.
Writes results/benchmarks/tuning_ham10000.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import pandas as pd

from benchmarks.facts import run_facts
from melanoma.storage import write_json, write_text

CONFIG = "ham10000_mobilenet"
SHARED = (
    "image.size=64",
    "training.epochs=6",
    "evaluation.views=4",
    "optimizer.depth_decay=0.9",
    "training.precise_bn=0",  # it came later
)
CANDIDATES: dict[str, tuple[str, ...]] = {
    "depth_decay 0.8": ("optimizer.depth_decay=0.8",),
    "depth_decay 0.9": (),
    "depth_decay 1.0": ("optimizer.depth_decay=1.0",),
    "rate 2e-3": ("optimizer.rate=2.0e-3",),
    "balanced sampler": ("sampler.name=balanced",),
}
_INNER = {"0": "test", "1": "0", "2": "train", "3": "train", "4": "train"}


def inner_folds(outer: Path, inner: Path) -> Path:
    """The fold file of the inner split, made of the outer one."""
    table = pd.read_csv(outer, dtype=str)
    table["fold"] = table["fold"].map(_INNER)
    write_text(inner, table.to_csv(index=False))
    return inner


def try_candidate(name: str, *, data: Path, work: Path, folds: Path) -> dict[str, float]:
    """The last epoch's figures of one candidate; the same call resumes."""
    weights = work / "weights" / "tuning" / name.replace(" ", "_")
    settings = [part for one in (*SHARED, *CANDIDATES[name]) for part in ("--set", one)]
    places = ["--data", str(data), "--arrays", str(work / "arrays" / "ham10000_center")]
    command = [sys.executable, "-m", "melanoma.train", "--fold", "0", "--config", CONFIG]
    command += [*places, "--folds", str(folds), "--weights", str(weights), *settings]
    subprocess.run(command, check=True)
    lines = (weights / "fold_0" / "metrics.jsonl").read_text().splitlines()
    last = json.loads(lines[-1])
    wanted = ("epoch", "valid_loss", "auroc", "macro_auroc", "balanced_accuracy", "macro_f1")
    return {key: round(last[key], 4) for key in wanted}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="with data/")
    parser.add_argument("--work", type=Path, default=Path("runs"))
    parser.add_argument("--folds", type=Path, help="outer (default WORK/folds/ham10000.csv)")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/tuning_ham10000.json"))
    given = parser.parse_args()
    outer = given.folds or given.work / "folds" / "ham10000.csv"
    folds = inner_folds(outer, given.work / "folds" / "ham10000_inner.csv")
    data = given.shared / "data" / "ham10000"
    found = {
        name: try_candidate(name, data=data, work=given.work, folds=folds) for name in CANDIDATES
    }
    facts = {**run_facts("tuning"), "shared": SHARED}
    write_json(given.out, {**facts, "validated on fold 1, trained on 2 to 4": found})
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
