"""Views of the middle of a square, at home and elsewhere: what enlarging it does to the ranking.

    python -m benchmarks.zoom --arrays ARRAYS --folds FOLDS --elsewhere BUNDLE --siim FOLDER
        --siim-arrays DIR [--only elsewhere]    # seven minutes on two quiet cores

A square's middle, of a share of its side, is enlarged to the square's size (bicubic). At home each
held-out image is scored by the member of the shipped bundle that held it out; SIIM's sample by all
members of a bundle that was trained without that source. Compared with four quarter turns of the
whole square: the half turn of the whole alone, the turns of the middle alone, the half turn of
both, and the four turns of both, which are eight passes. Differences are paired, by lesion and by
patient. With --only the other place's figures stay as the file has them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from tqdm import tqdm

from benchmarks.facts import run_facts
from benchmarks.paired import Images, Pair, compare, table_lines
from benchmarks.shipped import WEIGHTS
from benchmarks.views import log_odds
from melanoma.data.arrays import ImageArray, load_array
from melanoma.data.folds import load_folds
from melanoma.data.images import Pixels
from melanoma.data.symmetries import dihedral_squares
from melanoma.devices import CPU
from melanoma.evaluation.metrics.ranking import auroc
from melanoma.recipe.overrides import load_recipe
from melanoma.scoring.backends.backend_catalog import Engine
from melanoma.scoring.backends.open_members import open_members
from melanoma.scoring.bundle.bundle import Bundle, load_bundle
from melanoma.storage import write_json
from melanoma.types import Floats

OUT = Path("results/benchmarks/zoom.json")
SHARES = (1.0, 0.9, 0.8)
_BATCH = 32


def enlarge(squares: Pixels, share: float) -> Pixels:
    """(B, S, S, 3): the middle of each square, `share` of its side, at the whole's size."""
    size = squares.shape[1]
    side = round(size * share)
    first = (size - side) // 2
    middle = squares[:, first : first + side, first : first + side]
    if side == size:
        return squares
    cubic = cv2.INTER_CUBIC
    return np.stack([cv2.resize(one, (size, size), interpolation=cubic) for one in middle])


def score_turns(bundle: Bundle, array: ImageArray, rows: Sequence[int]) -> dict[float, Floats]:
    """By share, (N, 4) the mean log-odds of melanoma of the members' logits, a turn each."""
    network = open_members(bundle, CPU, Engine("auto"))
    shifts = np.stack([np.asarray(member.prior_shift) for member in bundle.members])
    parts = np.array_split(np.asarray(rows), -(-len(rows) // _BATCH))
    found: dict[float, list[Floats]] = {share: [] for share in SHARES}
    for part in tqdm(parts):
        squares = array.rows(part)
        for share, scored in found.items():
            turns = dihedral_squares(enlarge(squares, share), 4)
            logits = [network.logits(np.ascontiguousarray(turn), views=1) for turn in turns]
            odds = [log_odds(one - shifts, bundle.melanoma_columns).mean(axis=1) for one in logits]
            scored.append(np.stack(odds, axis=1))
    return {share: np.concatenate(scored) for share, scored in found.items()}


def compare_views(turns: Mapping[float, Floats], images: Images, where: str) -> list[Pair]:
    """Each way of using the middle against the four turns of the whole."""
    whole = turns[1.0]
    ways = {"half turn of the whole": whole[:, :2].mean(axis=1)}
    for share in SHARES[1:]:
        middle = turns[share]
        ways |= {
            f"turns of the middle {share:.0%}": middle.mean(axis=1),
            f"half turn of both, {share:.0%}": (whole[:, :2] + middle[:, :2]).mean(axis=1),
            f"turns of both, {share:.0%}": (whole + middle).mean(axis=1),
        }
    base = auroc(images.melanoma, whole.mean(axis=1))
    return [
        compare(
            where,
            (told, "turns of the whole"),
            "AUROC",
            [auroc(images.melanoma, score)],
            [base],
            images,
        )
        for told, score in ways.items()
    ]


def at_home(arrays: Path, folds: Path) -> list[Pair]:
    """Of the shipped bundle's held-out images."""
    recipe, bundle = load_recipe(WEIGHTS / "recipe.yaml"), load_bundle(WEIGHTS)
    table, array = load_folds(folds, classes=recipe.classes), load_array(arrays, recipe.image)
    assert array is not None, f"no array in {arrays}"
    found: list[dict[float, Floats]] = []
    frames = []
    for member in bundle.members:
        frame = table.frame[table.frame["fold"] == member.fold]
        rows = [array.row_of[name] for name in frame["image_name"]]
        found.append(score_turns(replace(bundle, members=(member,)), array, rows))
        frames.append(frame)
    turns = {share: np.concatenate([one[share] for one in found]) for share in SHARES}
    frame = pd.concat(frames, ignore_index=True)
    melanoma = frame["target"].astype(int).isin(bundle.melanoma_columns)
    groups = pd.factorize(frame["group"])[0].astype(np.int64)
    return compare_views(turns, Images(np.asarray(melanoma, np.int64), groups), "at home, held out")


def elsewhere(weights: Path, folder: Path, arrays: Path) -> list[Pair]:
    """Of SIIM's sample, by a bundle that has not seen it."""
    recipe, bundle = load_recipe(weights / "recipe.yaml"), load_bundle(weights)
    array = load_array(arrays, recipe.image)
    assert array is not None, f"no array in {arrays}"
    table = pd.read_csv(folder / "train.csv", dtype={"image_name": str, "patient_id": str})
    table = table[table["image_name"].isin(array.row_of)]
    rows = [array.row_of[name] for name in table["image_name"]]
    images = Images(
        table["target"].to_numpy(np.int64),
        pd.factorize(table["patient_id"])[0].astype(np.int64),
    )
    told = f"SIIM's sample, {len(bundle.members)} members trained without its like"
    return compare_views(score_turns(bundle, array, rows), images, told)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arrays", type=Path, required=True, help="what the bundle trained on")
    parser.add_argument("--folds", type=Path, required=True, help="its fold file")
    parser.add_argument("--elsewhere", type=Path, required=True, help="a bundle for SIIM's sample")
    parser.add_argument("--siim", type=Path, required=True, help="the sample, with train.csv")
    parser.add_argument("--siim-arrays", type=Path, required=True, help="its array")
    parser.add_argument("--only", choices=("home", "elsewhere"), help="default: both")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    found: dict[str, Any] = {"home": [], "elsewhere": []}
    if given.out.is_file():
        found |= json.loads(given.out.read_text())
    for place in [given.only] if given.only else ["home", "elsewhere"]:
        if place == "home":
            pairs = at_home(given.arrays, given.folds)
        else:
            pairs = elsewhere(given.elsewhere, given.siim, given.siim_arrays)
        print("\n".join(table_lines(pairs)))
        found[place] = [pair.as_dict() for pair in pairs]
    write_json(given.out, {**found, **run_facts("zoom")})


if __name__ == "__main__":
    main()
