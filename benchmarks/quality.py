"""What the quality gate catches of spoiled melanomas, and what it stops of good photographs.

    python -m benchmarks.quality [--every 4] [--cache FILE.npz] [--out FILE.json]

HAM10000's melanomas that the shipped bundle flags when held out (the member that did not see them,
all its views, the bundle's threshold) are spoiled in the ways of benchmarks/quality_degrade.py and
scored again by that member. Counted: how many fall below the threshold, and how many of those the
limits stop. The limits are learned without the image's own fold, and the step of a strong
compression (melanoma.data.compression) was chosen with a look at melanomas of TUNED alone: counted
are those of the other half of the lesions. Good photographs are all of HAM10000, by class, and
other sets as they are. Reads ../shared/data. `--cache` keeps the good photographs' measures.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from benchmarks.facts import run_facts
from benchmarks.quality_degrade import DEGRADATIONS, Degrade
from benchmarks.shipped import OOF, WEIGHTS
from melanoma.data.compression import is_strongly_compressed
from melanoma.data.images import decode_image
from melanoma.data.square_quality import measure_square
from melanoma.evaluation.measure.picture_quality import LIMITS, beyond_limits, fit_quality
from melanoma.evaluation.report.schema_quality import PictureQuality
from melanoma.scoring.bundle.bundle import load_bundle
from melanoma.scoring.scorer import Scorer
from melanoma.storage import write_json

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
HAM10000 = DATA / "ham10000" / "HAM10000_images"
HOME = "ham10000, held out"
OTHERS = {
    "isic2017_train": DATA / "isic2017_train" / "images",
    "siim2020": DATA / "siim2020" / "jpeg" / "train",
    "smartphone_pad": DATA / "smartphone_pad" / "images",
}
MELANOMA = "melanoma"
TUNED = 0  # the half of the lesions that limits were chosen with a look at
COMPRESSED = "too_compressed"
_BATCH = 16


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--every", type=int, default=4, help="of the half's melanomas, one in so many"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "results/benchmarks/quality.json")
    parser.add_argument("--cache", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    scorer = Scorer(load_bundle(WEIGHTS))
    table = pd.read_csv(OOF, usecols=["image_name", "group", "label", "fold", "prob"])
    sets = measure_sets(table, scorer, given.cache)
    measures = sets[HOME][:, :-1]
    folds, labels = table["fold"].to_numpy(), table["label"].to_numpy()
    by_fold = {
        int(fold): _fit(measures[folds != fold], labels[folds != fold]) for fold in np.unique(folds)
    }
    found: dict[str, Any] = {
        "facts": run_facts("quality"),
        "limits": _fit(measures, labels).limits.model_dump(),
        "shares": [
            {"measure": limit.measure, "share": limit.share, "reason": limit.reason}
            for limit in LIMITS
        ],
        "good": good_photographs(sets, table, by_fold),
    }
    threshold = scorer.bundle.threshold
    assert threshold is not None
    chosen = table[(table["label"] == MELANOMA) & (table["prob"] >= threshold.value)]
    chosen = chosen[halves(chosen["group"]) != TUNED].iloc[:: given.every]
    found["melanomas"] = len(chosen)
    found["spoiled"] = {}
    for name, degrade in tqdm(DEGRADATIONS.items()):
        found["spoiled"][name] = spoil(chosen, degrade, scorer, by_fold)
        print(name, found["spoiled"][name], flush=True)
    found["all"] = _sum(found["spoiled"].values())
    write_json(given.out, found)
    print(given.out, found["all"])


def halves(groups: pd.Series) -> np.ndarray:
    """(N,) 0 or 1 of each lesion, by its name alone."""
    return np.array([sha256(str(group).encode()).digest()[0] % 2 for group in groups])


def measure_sets(table: pd.DataFrame, scorer: Scorer, cache: Path | None) -> dict[str, np.ndarray]:
    """(N, measures + 1) of HAM10000's held-out images and of OTHERS: the last column says whether
    the file was compressed too strongly."""
    if cache is not None and cache.is_file():
        return dict(np.load(cache))
    sets = {HOME: measure_all((HAM10000 / f"{name}.jpg" for name in table["image_name"]), scorer)}
    for name, folder in OTHERS.items():
        sets[name] = measure_all(sorted(folder.iterdir()), scorer)
    if cache is not None:
        np.savez(cache, **sets)  # type: ignore[arg-type]
    return sets


def measure_all(files: Iterable[Path], scorer: Scorer) -> np.ndarray:
    """(N, measures + 1) of the files, see measure_sets."""
    rows = []
    for file in files:
        pixels = decode_image(file.read_bytes()).pixels
        measured = measure_square(scorer.square(pixels)).as_row()
        rows.append((*measured, float(is_strongly_compressed(pixels))))
    return np.array(rows)


def good_photographs(
    sets: dict[str, np.ndarray], table: pd.DataFrame, by_fold: dict[int, PictureQuality]
) -> dict[str, Any]:
    """The share that the gate stops of HAM10000, held out, by class and reason, and of others."""
    measures, compressed = sets[HOME][:, :-1], sets[HOME][:, -1] > 0
    frame = pd.DataFrame({COMPRESSED: compressed}, index=table.index)
    for fold, quality in by_fold.items():
        rows = (table["fold"] == fold).to_numpy()
        for reason, hit in beyond_limits(measures[rows], quality.limits).items():
            frame.loc[rows, reason] = hit
    stopped = frame.astype(bool).any(axis=1)
    found: dict[str, Any] = {
        HOME: {
            "images": len(table),
            "stopped": float(stopped.mean()),
            "reasons": frame.astype(bool).mean().to_dict(),
            "by_class": stopped.groupby(table["label"]).mean().to_dict(),
        }
    }
    limits = _fit(measures, table["label"].to_numpy()).limits
    for name in OTHERS:
        hits = beyond_limits(sets[name][:, :-1], limits)
        hits[COMPRESSED] = sets[name][:, -1] > 0
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
        hits = list(beyond_limits(measures, quality.limits).values())
        hits.append(np.array([is_strongly_compressed(one) for one in pixels]))
        stopped[rows] = np.any(hits, axis=0)
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
