"""What averaging views brings: a sealed run's held-out images scored once with 1 and 4 views.

    python -m benchmarks.views --weights runs/weights/ham10000_mobilenet --arrays ARRAYS \
        --folds FOLDS --out results/ham10000_mobilenet/views.csv

Each image is scored by the member that held it out, as in oof.csv, where the score of all views
that the recipe averages stands already. Written: image_name and, a number of views, the log-odds of
melanoma (uncalibrated, the prior shift taken out). benchmarks/ablations.py compares them.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import logsumexp
from tqdm import tqdm

from melanoma.data.arrays import load_array
from melanoma.data.folds import load_folds
from melanoma.recipe.overrides import load_recipe
from melanoma.scoring.bundle.bundle import load_bundle
from melanoma.scoring.scorer import Scorer

VIEWS = (1, 4)
_BATCH = 64


def score_views(weights: Path, arrays: Path, folds: Path) -> pd.DataFrame:
    """image_name, fold, views_1, views_4 of every held-out image."""
    recipe = load_recipe(weights / "recipe.yaml")
    table, bundle = load_folds(folds, classes=recipe.classes), load_bundle(weights)
    array = load_array(arrays, recipe.image)
    assert array is not None, f"no array in {arrays}"
    melanoma = [bundle.classes.index(name) for name in bundle.melanoma]
    found = []
    for member in bundle.members:
        alone = replace(bundle, members=(member,))
        frame = table.frame[table.frame["fold"] == member.fold][["image_name", "fold"]]
        rows = np.array([array.row_of[name] for name in frame["image_name"]])
        parts = np.array_split(rows, -(-len(rows) // _BATCH))
        for views in VIEWS:
            scorer = Scorer(alone, views=views)
            seen = [
                scorer.member_logits(array.rows(part))[:, 0]
                for part in tqdm(parts, desc=f"fold {member.fold}, views {views}")
            ]
            logits = np.concatenate(seen) - np.asarray(member.prior_shift)
            frame[f"views_{views}"] = log_odds(logits, melanoma)
        found.append(frame)
    return pd.concat(found, ignore_index=True)


def log_odds(logits: np.ndarray, melanoma: list[int]) -> np.ndarray:
    """(..., C) logits to (...,) log-odds of the melanoma classes; (..., 1) as they are."""
    if logits.shape[-1] == 1:
        return logits[..., 0]
    others = [number for number in range(logits.shape[-1]) if number not in melanoma]
    of = [logsumexp(logits[..., side], axis=-1) for side in (melanoma, others)]
    return np.asarray(of[0] - of[1])


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, required=True, help="an evaluated run")
    parser.add_argument("--arrays", type=Path, required=True, help="what it was trained on")
    parser.add_argument("--folds", type=Path, required=True, help="its fold file")
    parser.add_argument("--out", type=Path, required=True, help="the CSV to write")
    given = parser.parse_args()
    table = score_views(given.weights, given.arrays, given.folds)
    table.to_csv(given.out, index=False, float_format="%.6g")
    print(f"{given.out}: {len(table):,} images with {', '.join(map(str, VIEWS))} views")


if __name__ == "__main__":
    main()
