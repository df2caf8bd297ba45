"""What averaging views brings: the shipped model's held-out images over several sets of them.

    python -m benchmarks.views --arrays ARRAYS --folds FOLDS    # five minutes on two cores

Each image is scored by the member that held it out, once in each of its eight symmetries, and the
logits of the views that SETS names are averaged, as a scorer does. Written: image_name and, a set,
the log-odds of melanoma (uncalibrated). benchmarks/ablations.py compares them.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import logsumexp
from tqdm import tqdm

from benchmarks.shipped import RESULTS, WEIGHTS
from melanoma.data.arrays import load_array
from melanoma.data.folds import load_folds
from melanoma.data.images import Pixels
from melanoma.data.symmetries import dihedral_squares
from melanoma.devices import CPU
from melanoma.recipe.overrides import load_recipe
from melanoma.scoring.backends.backend_catalog import Engine
from melanoma.scoring.backends.open_members import open_members
from melanoma.scoring.bundle.bundle import load_bundle
from melanoma.scoring.members import Members
from melanoma.types import Floats

# By their numbers in symmetries.dihedral_squares: 0 to 3 are turns, 4 to 7 their mirror images.
SETS: Mapping[str, Sequence[int]] = {
    "views_1": (0,),
    "views_2": (0, 1),
    "views_4": (0, 1, 2, 3),
    "flips_4": (0, 1, 4, 5),
    "views_8": range(8),
}
_BATCH = 32


def score_views(weights: Path, arrays: Path, folds: Path) -> pd.DataFrame:
    """image_name, fold and a column a set, of every held-out image."""
    recipe = load_recipe(weights / "recipe.yaml")
    table, bundle = load_folds(folds, classes=recipe.classes), load_bundle(weights)
    array = load_array(arrays, recipe.image)
    assert array is not None, f"no array in {arrays}"
    melanoma = bundle.melanoma_columns
    found = []
    for member in bundle.members:
        network = open_members(replace(bundle, members=(member,)), CPU, Engine("auto"))
        frame = table.frame[table.frame["fold"] == member.fold][["image_name", "fold"]].copy()
        rows = np.array([array.row_of[name] for name in frame["image_name"]])
        parts = np.array_split(rows, -(-len(rows) // _BATCH))
        seen = [
            _each_view(network, array.rows(part))
            for part in tqdm(parts, desc=f"fold {member.fold}")
        ]
        logits = np.concatenate(seen) - np.asarray(member.prior_shift)
        for name, numbers in SETS.items():
            frame[name] = log_odds(logits[:, list(numbers)].mean(axis=1), melanoma)
        found.append(frame)
    return pd.concat(found, ignore_index=True)


def _each_view(network: Members, squares: Pixels) -> Floats:
    """(B, 8, C): the logits of each symmetry by the one member."""
    views = [np.ascontiguousarray(view) for view in dihedral_squares(squares, 8)]
    return np.stack([network.logits(view, views=1)[:, 0] for view in views], axis=1)


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
    parser.add_argument("--arrays", type=Path, required=True, help="what it was trained on")
    parser.add_argument("--folds", type=Path, required=True, help="its fold file")
    parser.add_argument("--out", type=Path, default=RESULTS / "views.csv", help="the CSV to write")
    given = parser.parse_args()
    table = score_views(WEIGHTS, given.arrays, given.folds)
    table.to_csv(given.out, index=False, float_format="%.5g")
    print(f"{given.out}: {len(table):,} images over {', '.join(SETS)}")


if __name__ == "__main__":
    main()
