"""What the quality gate catches of spoiled melanomas, and what it stops of good photographs.

    python -m benchmarks.quality [--every 9] [--out results/benchmarks/quality.json]

HAM10000's melanomas that the shipped bundle flags when held out (the member that did not see them,
all its views, the bundle's threshold) are spoiled in the ways of benchmarks/quality_degrade.py and
scored again by that member. Counted: how many fall below the threshold, and how many of those the
limits stop. The limits are learned without the image's own fold. Good photographs are all of
HAM10000, by class, and two other sets as they are. Reads ../shared/data.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from benchmarks.facts import run_facts
from benchmarks.quality_degrade import DEGRADATIONS, Degrade
from melanoma.data.images import Pixels, decode_image
from melanoma.data.square_quality import measure_square
from melanoma.evaluation.measure.picture_quality import LIMITS, beyond_limits, fit_quality
from melanoma.evaluation.report.schema_quality import PictureQuality
from melanoma.scoring.bundle.bundle import load_bundle
from melanoma.scoring.scorer import Scorer
from melanoma.storage import write_json

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
WEIGHTS = ROOT / "weights" / "ham10000_mobilenet"
OOF = ROOT / "results" / "ham10000_mobilenet" / "oof.csv"
HAM10000 = DATA / "ham10000" / "HAM10000_images"
OTHERS = {
    "isic2017_train": DATA / "isic2017_train" / "images",
    "siim2020": DATA / "siim2020" / "jpeg" / "train",
    "smartphone_pad": DATA / "smartphone_pad" / "images",
}
MELANOMA = "melanoma"
_BATCH = 16


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--every", type=int, default=9, help="of the flagged melanomas, one in so many"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "results/benchmarks/quality.json")
    given = parser.parse_args()
    torch.set_num_threads(1)
    scorer = Scorer(load_bundle(WEIGHTS))
    table = pd.read_csv(OOF, usecols=["image_name", "label", "fold", "prob"])
    start = time.perf_counter()
    measures = measure_all((HAM10000 / f"{name}.jpg" for name in table["image_name"]), scorer)
    milliseconds = 1000 * (time.perf_counter() - start) / len(table)
    folds, labels = table["fold"].to_numpy(), table["label"].to_numpy()
    by_fold = {
        int(fold): _fit(measures[folds != fold], labels[folds != fold]) for fold in np.unique(folds)
    }
    found: dict[str, Any] = {
        "facts": run_facts("quality"),
        "milliseconds_to_read_and_measure": round(milliseconds, 2),
        "limits": _fit(measures, labels).limits.model_dump(),
        "shares": [
            {"measure": limit.measure, "share": limit.share, "reason": limit.reason}
            for limit in LIMITS
        ],
        "good": good_photographs(measures, table, by_fold, scorer),
    }
    threshold = scorer.bundle.threshold
    assert threshold is not None
    chosen = table[(table["label"] == MELANOMA) & (table["prob"] >= threshold.value)]
    chosen = chosen.iloc[:: given.every]
    found["melanomas"] = len(chosen)
    found["spoiled"] = {}
    for name, degrade in tqdm(DEGRADATIONS.items()):
        found["spoiled"][name] = spoil(chosen, degrade, scorer, by_fold)
        print(name, found["spoiled"][name], flush=True)
    found["all"] = _sum(found["spoiled"].values())
    write_json(given.out, found)
    print(given.out, found["all"])


def squares_of(files: Iterable[Path], scorer: Scorer) -> Iterator[Pixels]:
    """The square of each file, as it is scored."""
    for file in files:
        yield scorer.square(decode_image(file.read_bytes()).pixels)


def measure_all(files: Iterable[Path], scorer: Scorer) -> np.ndarray:
    """(N, measures) of the files."""
    return np.array([measure_square(square).as_row() for square in squares_of(files, scorer)])


def good_photographs(
    measures: np.ndarray, table: pd.DataFrame, by_fold: dict[int, PictureQuality], scorer: Scorer
) -> dict[str, Any]:
    """The share that the gate stops of HAM10000, held out, by class and reason, and of others."""
    frame = pd.DataFrame(index=table.index)
    for fold, quality in by_fold.items():
        rows = (table["fold"] == fold).to_numpy()
        for reason, hit in beyond_limits(measures[rows], quality.limits).items():
            frame.loc[rows, reason] = hit
    stopped = frame.astype(bool).any(axis=1)
    found: dict[str, Any] = {
        "ham10000, held out": {
            "images": len(table),
            "stopped": float(stopped.mean()),
            "reasons": frame.astype(bool).mean().to_dict(),
            "by_class": stopped.groupby(table["label"]).mean().to_dict(),
        }
    }
    limits = _fit(measures, table["label"].to_numpy()).limits
    for name, folder in OTHERS.items():
        hits = beyond_limits(measure_all(sorted(folder.iterdir()), scorer), limits)
        found[name] = {
            "images": len(next(iter(hits.values()))),
            "stopped": float(np.any(list(hits.values()), axis=0).mean()),
            "reasons": {reason: float(hit.mean()) for reason, hit in hits.items()},
        }
    return found


def spoil(
    chosen: pd.DataFrame, degrade: Degrade, scorer: Scorer, by_fold: dict[int, PictureQuality]
) -> dict[str, Any]:
    """Of the chosen images, how many fall below the threshold once spoiled, and are stopped."""
    rng = np.random.default_rng(0)
    column = scorer.bundle.classes.index(MELANOMA)
    threshold = scorer.bundle.threshold
    assert threshold is not None
    fell, stopped = np.zeros(len(chosen), bool), np.zeros(len(chosen), bool)
    for fold, quality in by_fold.items():
        rows = np.flatnonzero(chosen["fold"] == fold)
        files = [HAM10000 / f"{chosen['image_name'].iloc[row]}.jpg" for row in rows]
        pixels = [degrade(decode_image(file.read_bytes()).pixels, rng) for file in files]
        squares = np.stack([scorer.square(one) for one in pixels])
        measures = np.array([measure_square(square).as_row() for square in squares])
        stopped[rows] = np.any(list(beyond_limits(measures, quality.limits).values()), axis=0)
        member = scorer.of_fold(fold)
        for part in np.array_split(np.arange(len(rows)), max(1, len(rows) // _BATCH)):
            scores = member.member_probabilities(squares[part])[:, 0, column]
            fell[rows[part]] = scores < threshold.value
    return {
        "melanomas": len(chosen),
        "fell": int(fell.sum()),
        "fell_and_stopped": int((fell & stopped).sum()),
        "still_flagged_and_stopped": int((~fell & stopped).sum()),
    }


def _sum(parts: Iterable[dict[str, int]]) -> dict[str, float]:
    listed = list(parts)
    total = {key: sum(part[key] for part in listed) for key in listed[0]}
    return {**total, "caught": total["fell_and_stopped"] / max(total["fell"], 1)}


def _fit(measures: np.ndarray, labels: np.ndarray) -> PictureQuality:
    found = fit_quality(measures, [str(label) for label in labels])
    assert found is not None
    return found


if __name__ == "__main__":
    main()
