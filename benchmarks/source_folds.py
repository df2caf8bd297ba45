"""What the shipped training reaches on ISIC 2017, of which each member misses another fifth.

    python -m benchmarks.source_folds --work DIR --pretrained 'STARTS/fold_{fold}.safetensors'
        [--shared ../shared] [--fold 0] [--train-only] [--set training.epochs=3] [--name NAME]

A source is trained on and never held out, so the shipped model's report says nothing of images like
its own. Here ISIC 2017 is split into five (near-duplicates together); member k is trained as the
one that ships is, on the same fold of HAM10000, but for fifth k of ISIC 2017, and scores that
fifth. No image is scored by a network that saw it: what a withheld set of the same kind may be
expected to give, by one member instead of five. The starting weights are of HAM10000 alone. DIR may
be second_edition's, and the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from benchmarks.door import run_door
from benchmarks.facts import run_facts
from benchmarks.rescored_fold import open_fold
from benchmarks.second_edition import (
    CONFIG,
    START_SHARE,
    Place,
    ece_at_share,
    require_innocent,
)
from benchmarks.shipped import ROOT, WEIGHTS
from benchmarks.start_average import average_fold
from melanoma.data.arrays import ImageArray, load_array
from melanoma.data.folds import FoldTable, load_folds
from melanoma.evaluation.calibration import Calibration
from melanoma.evaluation.metrics.bootstrap import bootstrap_intervals
from melanoma.evaluation.metrics.decisions import sensitivity_at, specificity_at
from melanoma.evaluation.metrics.probability_scores import expected_calibration_error
from melanoma.evaluation.metrics.ranking import auroc
from melanoma.recipe.overrides import load_recipe
from melanoma.storage import write_json
from melanoma.training.epoch import predict_rows

SOURCE = "isic2017_train"
RECIPE = ROOT / "configs" / "isic2017.yaml"


class Fifths:
    """ISIC 2017's array and folds, and, beside the other data, the source without each fifth."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.data = place.work / "source_folds"
        arrays, folds = place.work / "arrays_source_folds", place.work / "folds" / "isic2017.csv"
        given = ("--config", str(RECIPE), "--data", str(place.data / SOURCE))
        if not folds.is_file():
            run_door("prepare", *given, "--arrays", str(arrays))
            run_door("split", *given, "--arrays", str(arrays), "--folds", str(folds))
        recipe = load_recipe(RECIPE)
        array = load_array(arrays, recipe.image)
        assert array is not None, f"no array in {arrays}"
        self.array: ImageArray = array
        self.table: FoldTable = load_folds(folds, classes=recipe.classes)

    def without(self, fold: int) -> str:
        """The name of the source without that fifth, its folder made."""
        name = f"{SOURCE}_but_{fold}"
        folder = self.data / name
        folder.mkdir(parents=True, exist_ok=True)
        _link(self.place.data / SOURCE / "images", folder / "images")
        for other in ("ham10000", "siim2020_test"):
            (self.data / other).mkdir(exist_ok=True)
            for entry in (self.place.data / other).iterdir():
                _link(entry, self.data / other / entry.name)
        frame = self.table.frame
        gone = frame.loc[frame["fold"] == fold, "image_name"]
        rows = pd.read_csv(self.place.data / SOURCE / "metadata.csv")
        rows[~rows["image_id"].isin(set(gone))].to_csv(folder / "metadata.csv", index=False)
        return name


def _link(target: Path, link: Path) -> None:
    if not link.is_symlink():
        link.symlink_to(target.resolve())


def train(fifths: Fifths, fold: int, name: str, settings: Sequence[str]) -> Path:
    """The folder of the member that misses fifth `fold`, trained and averaged, or resumed."""
    place, source = fifths.place, fifths.without(fold)
    values = yaml.safe_load(CONFIG.read_text())
    values["name"] = f"{values['name']}_{name}"
    values["training"]["bfloat16_weights"] = False  # averaged afterwards, as in second_edition
    for one in values["data"]["sources"]:
        if one["name"] == SOURCE:
            one["name"] = source
    config = place.work / f"{name}_{fold}.yaml"
    config.write_text(yaml.safe_dump(values, sort_keys=False))
    trained = place.work / "weights" / f"{name}_{fold}_trained"
    assert place.start is not None
    run_door(
        *("train", "--config", str(config), "--data", str(fifths.data / "ham10000")),
        *("--arrays", str(place.arrays), "--folds", str(place.folds), "--fold", str(fold)),
        *("--weights", str(trained), "--pretrained", place.start),
        *(part for setting in settings for part in ("--set", setting)),
    )
    folder = place.work / "weights" / f"{name}_{fold}" / f"fold_{fold}"
    if not (folder / "oof.csv").is_file():
        one = open_fold(trained / f"fold_{fold}", arrays=place.arrays, folds=place.folds)
        average_fold(one, folder, start=place.start, share=START_SHARE)
    return folder


def score(fifths: Fifths, fold: int, folder: Path) -> pd.DataFrame:
    """image_name, group, melanoma, prob of that fifth, by the member that never saw it."""
    one = open_fold(folder, arrays=fifths.place.arrays, folds=fifths.place.folds)
    frame = fifths.table.frame.set_index("image_name").loc[list(fifths.array.names)]
    rows = np.flatnonzero((frame["fold"] == fold).to_numpy()).astype(np.int64)
    logits = predict_rows(
        one.classifier,
        fifths.array,
        rows,
        normalize=one.recipe.image.normalize,
        views=one.recipe.evaluation.views,
        batch_size=64,
    )
    found = frame.iloc[rows][["group", "target"]].reset_index()
    sealed = Calibration(**_manifest()["calibration"])
    (number,) = (one.recipe.classes.index(name) for name in one.recipe.melanoma)
    return found.assign(prob=sealed.probabilities(logits)[:, number])


def figures(scores: pd.DataFrame) -> dict[str, Any]:
    """Ranking, what the shipped threshold reaches, and calibration."""
    target = scores["target"].to_numpy(np.int64)
    prob = scores["prob"].to_numpy(np.float64)
    threshold = float(_manifest()["thresholds"][0]["value"])
    found = bootstrap_intervals(
        {
            "auroc": auroc(target, prob),
            "sensitivity": sensitivity_at(threshold, target, prob),
            "specificity": specificity_at(threshold, target, prob),
            "ece": expected_calibration_error(target, prob),
        },
        pd.factorize(scores["group"])[0].astype(np.int64),
        resamples=2000,
        rng=np.random.default_rng(0),
    )
    return {
        "images": len(target),
        "melanomas": int(target.sum()),
        "folds": sorted(map(int, scores["fold"].unique())),
        "threshold": threshold,
        **{name: interval.measured().model_dump() for name, interval in found.items()},
        "ece_at_own_share": round(ece_at_share(target, prob, trained=_share()), 4),
    }


def _share() -> float:
    return float(_manifest()["calibration"]["prevalence"])


def _manifest() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((WEIGHTS / "manifest.json").read_text())
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="arrays, folds, weights")
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="with data/")
    parser.add_argument("--pretrained", required=True, help="weights to start from, with {fold}")
    parser.add_argument("--fold", type=int, action="append", help="repeatable (default all)")
    parser.add_argument("--train-only", action="store_true", help="score nothing")
    parser.add_argument("--set", action="append", default=[], help="of the recipe; repeatable")
    parser.add_argument("--name", default="source_folds", help="of the runs, where it is a trial")
    parser.add_argument("--out", type=Path, help="default results/benchmarks/NAME.json")
    given = parser.parse_args(arguments)
    require_innocent(given.pretrained)
    place = Place(given.work, given.shared / "data", False, given.pretrained)
    fifths = Fifths(place)
    scores = []
    for fold in given.fold or range(5):
        folder = train(fifths, fold, given.name, given.set)
        if not given.train_only:
            scores.append(score(fifths, fold, folder).assign(fold=fold))
            print(json.dumps({"fold": fold, **figures(scores[-1])["auroc"]}), flush=True)
    if scores:
        found = {**run_facts("source_folds"), **figures(pd.concat(scores))}
        out = given.out or ROOT / "results" / "benchmarks" / f"{given.name}.json"
        write_json(out, found)
        print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
