"""Colors varied on purpose: three more epochs with them, and a share of those weights averaged in.

    python -m benchmarks.varied --work DIR --pretrained 'DIR/starts/fold_{fold}.safetensors'
        [--shared ../shared] [--variant VARIANT] [--fold 0] [--train-only]

DIR is that of benchmarks/second_edition.py, which has trained the variant's folds. Each goes on for
three epochs with colors varied some four times as far (DIR/weights/VARIANT_varied; the same command
goes on where it was stopped). The weights of both, mixed by each of SHARES, and of all these a
tenth of the weights that the first began with, as in what ships, are scored over four views: on the
fold's held-out images, and on the set that the variant left out, without what its training shows.
Writes results/benchmarks/varied.json: AUROCs, paired with those of no such share.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmarks.door import run_door
from benchmarks.facts import run_facts
from benchmarks.paired import Images, compare
from benchmarks.rescored_fold import FinishedFold, open_fold
from benchmarks.second_edition import ELSEWHERE, START_SHARE, VARIANTS, Place, places
from benchmarks.shipped import RESULTS, ROOT
from benchmarks.start_average import average
from melanoma.data.arrays import ImageArray, load_array
from melanoma.evaluation.calibration import plain_probabilities
from melanoma.evaluation.metrics.ranking import auroc
from melanoma.models.pretrained import read_weights
from melanoma.storage import write_json
from melanoma.training.epoch import predict_rows
from melanoma.training.run.run_folder import fold_folder
from melanoma.types import Floats, Integers

OUT = ROOT / "results" / "benchmarks" / "varied.json"
SHARES = (0.0, 0.3, 0.5, 1.0)
# The recipe's steps; camera and hue go some four times as far and come more often, scale, vignette
# and hairs a little.
AUGMENT = (
    "[{flip_horizontal: {p: 0.5}}, {flip_vertical: {p: 0.5}}, {transpose: {p: 0.5}}, "
    "{aspect: {least: 0.75, p: 0.5}}, "
    "{shift_scale_rotate: {shift: 0.1, scale: 0.3, rotate: 45, p: 0.8}}, "
    "{camera_color: {gain: 0.25, gamma: 0.4, p: 0.8}}, "
    "{hue_saturation_value: {hue: 15, saturation: 40, value: 25, p: 0.7}}, "
    "{vignette: {darkness: 0.8, p: 0.3}}, {hair: {most: 6, p: 0.2}}]"
)
SETTINGS = ("training.epochs=3", "optimizer.rate=3.0e-4", f"augment={AUGMENT}")


def varied(place: Place, variant: str) -> Path:
    """The folder of the runs that went on."""
    return place.work / "weights" / f"{variant}_varied"


def go_on(place: Place, variant: str, fold: int) -> None:
    """Train the fold on from where the variant's own training ended; a finished one stays."""
    start = place.trained(variant) / "fold_{fold}" / "model.safetensors"
    there = replace(place, start=str(start))
    options = places(there, variant, varied(place, variant))
    settings = [word for one in SETTINGS for word in ("--set", one)]
    run_door("train", "--fold", str(fold), *options, *settings)


def measure(place: Place, variant: str, fold: int) -> dict[str, Any]:
    """By share of the weights that went on: both AUROCs, less those of none."""
    folders = (place.trained(variant), varied(place, variant))
    first, second = (
        open_fold(fold_folder(one, fold), arrays=place.arrays, folds=place.folds) for one in folders
    )
    begun = read_weights(Path(str(place.start).replace("{fold}", str(fold))))
    weights = [
        {name: value.clone() for name, value in one.classifier.state_dict().items()}
        for one in (first, second)
    ]
    sets = _sets(place, first, variant)
    scores: dict[float, list[Floats]] = {}
    for share in SHARES:
        mixed = average(average(weights[0], weights[1], share), begun, START_SHARE)
        first.classifier.load_state_dict(mixed)
        scores[share] = [_score(first, array, rows) for _, array, rows, _ in sets]
    found: dict[str, Any] = {}
    for share in SHARES[1:]:
        for number, (name, _, _, images) in enumerate(sets):
            ours, none = ([auroc(images.melanoma, scores[s][number])] for s in (share, 0.0))
            pair = compare(name, (f"{share:.0%} of them", "none"), "AUROC", ours, none, images)
            found.setdefault(name, {})[str(share)] = pair.as_dict()
    return found


def _sets(
    place: Place, one: FinishedFold, variant: str
) -> list[tuple[str, ImageArray, Integers, Images]]:
    """(name, array, rows, images) of what the fold holds out, and of what the variant left out."""
    column = one.recipe.classes.index("melanoma")
    rows = one.data.validation
    table = one.run.scores.frame
    groups = pd.factorize(table["group"])[0].astype(np.int64)
    melanoma = (one.data.targets[rows] == column).astype(np.int64)
    assert [one.array.names[row] for row in rows] == table["image_name"].tolist()
    sets = [("held out at home", one.array, rows, Images(melanoma, groups))]
    for name, other in ELSEWHERE.items():
        if other.by != variant:
            continue
        known = RESULTS / "external" / f"{variant}_on_{name}" / "scores.csv"
        frame = pd.read_csv(known, dtype={"group": str})
        array = load_array(place.arrays / "sources" / name, one.recipe.image)
        assert array is not None, f"no array of {name} in {place.arrays}"
        there = np.array([array.row_of[image] for image in frame["image_name"]], dtype=np.int64)
        groups = pd.factorize(frame["group"])[0].astype(np.int64)
        sets.append((name, array, there, Images(frame["target"].to_numpy(np.int64), groups)))
    return sets


def _score(one: FinishedFold, array: ImageArray, rows: Integers) -> Floats:
    """The network's probability of melanoma as it is now."""
    logits = predict_rows(
        one.classifier,
        array,
        rows,
        normalize=one.recipe.image.normalize,
        views=one.recipe.evaluation.views,
        batch_size=one.recipe.training.batch_size,
    )
    column = one.recipe.classes.index("melanoma")
    return plain_probabilities(logits.astype(np.float64))[:, column]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="of benchmarks.second_edition")
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="with data/")
    parser.add_argument("--pretrained", required=True, help="what the folds began with, {fold}")
    parser.add_argument("--variant", action="append", choices=VARIANTS, help="repeatable")
    parser.add_argument("--fold", type=int, action="append", help="repeatable (default 0)")
    parser.add_argument("--train-only", action="store_true")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    place = Place(given.work, given.shared / "data", tiny=False, start=given.pretrained)
    torch.set_num_threads(1)
    found: dict[str, Any] = {**run_facts("varied"), "settings": SETTINGS, "variants": {}}
    if given.out.is_file():
        found["variants"] = json.loads(given.out.read_text())["variants"]
    for variant in given.variant or [one for one in VARIANTS if VARIANTS[one]]:
        for fold in given.fold or [0]:
            go_on(place, variant, fold)
            if not given.train_only:
                line = measure(place, variant, fold)
                found["variants"].setdefault(variant, {})[f"fold_{fold}"] = line
                write_json(given.out, found)


if __name__ == "__main__":
    main()
