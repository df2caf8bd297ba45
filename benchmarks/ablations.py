"""What matters, measured: pairs of runs in results/ that differ in one thing, and by how much.

    python -m benchmarks.ablations [--results results]

Everything is computed from the tables in results/ (oof.csv, test/members.csv, views.csv,
running_statistics.csv): no photograph and no weights are needed. A difference is a paired
bootstrap over lesions or patients, as `python -m melanoma.compare` has it. Writes
results/ablations.md, .json and .png.
"""

from __future__ import annotations

import argparse
import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit

from benchmarks.facts import run_facts
from benchmarks.paired import Images, Pair, compare, draw_differences, table_lines
from benchmarks.shipped import NAME as SHIPPED
from benchmarks.views import log_odds
from melanoma.evaluation.metrics.bootstrap import Statistic
from melanoma.evaluation.metrics.probability_scores import (
    brier_score,
    expected_calibration_error,
    log_loss,
)
from melanoma.evaluation.metrics.ranking import auroc, macro_auroc
from melanoma.evaluation.score_table import find_out_of_fold
from melanoma.recipe.overrides import load_recipe
from melanoma.storage import write_json, write_text
from melanoma.types import Floats, Integers

_BASE = "ham10000_melanoma"
_VIEWS = {"views_4": "4 turns", "flips_4": "4 flips", "views_2": "half turn", "views_1": "1 view"}
_HEAD = """# What matters, measured
Pairs of runs that differ in one thing. Written by `python -m benchmarks.ablations` from the
tables in this folder; the runs by `python -m benchmarks.reference --only NAME`. A - B is a paired
bootstrap over lesions (of the SIIM sample: patients) with 2,000 resamples, **bold** where p is
below 0.05, none corrected for how many there are. One seed a run: what another seed would change
is not in the intervals, so a difference of a few thousandths is no reason to choose.

![Differences of AUROC](ablations.png)
"""


@dataclass(frozen=True)
class Run:
    """A run's folder in results/, by image."""

    folder: Path

    def oof(self) -> pd.DataFrame:
        """oof.csv, with the melanoma column of a two-class run made of its target."""
        frame = _read(find_out_of_fold(self.folder))
        return frame if "melanoma" in frame else frame.assign(melanoma=frame["target"])

    def members(self) -> pd.DataFrame:
        """test/members.csv with the ensemble's probability beside the members' logits."""
        frame = _read(self.folder / "test" / "members.csv")
        whole = _read(self.folder / "test" / "scores.csv")[["image_name", "prob"]]
        return frame.merge(whole, on="image_name", validate="one_to_one")

    def shift(self) -> dict[int, float]:
        """A fold's prior shift of the melanoma logit, which oof.csv has taken out."""
        report = json.loads((self.folder / "report.json").read_text())
        return {int(k): float(v) for k, v in report["calibration"]["prior_shift"].items()}

    def score(self, column: str) -> Floats:
        """(N,) log-odds of melanoma by `logit`, `logit_best` or `logit_last` of oof.csv."""
        frame = self.oof()
        if column in frame:
            return frame[column].to_numpy(np.float64)
        recipe = load_recipe(self.folder / "recipe.yaml")
        logits = frame[[f"{column}_{name}" for name in recipe.classes]].to_numpy(np.float64)
        return log_odds(logits, recipe.melanoma_columns)


def _read(path: Path) -> pd.DataFrame:
    kinds = {"image_name": str, "patient_id": str, "group": str}
    frame = pd.read_csv(path, dtype=kinds, keep_default_na=False)
    return frame.sort_values("image_name", ignore_index=True)


def _images(frame: pd.DataFrame, column: str = "melanoma") -> Images:
    groups = pd.factorize(frame["group"])[0].astype(np.int64)
    return Images(frame[column].to_numpy(np.int64), groups)


def folds_by_image(results: Path) -> Iterator[Pair]:
    """What folds that ignore lesions claim, against folds that keep them, on the same images.

    Of a hundred of these photographs, forty-five show a lesion that another one shows too.
    """
    shuffled = Run(results / f"{_BASE}_shuffled")
    theirs = shuffled.oof()
    ours = _on(theirs, Run(results / _BASE).oof())
    # Of all images that training could have seen, not of the folds that were run alone.
    whole = Run(results / _BASE).oof().groupby("group")["image_name"].transform("size")
    several = _on(theirs, Run(results / _BASE).oof().assign(size=whole))["size"].to_numpy() > 1
    for told, rows in (
        ("all held-out images", np.ones(len(ours), bool)),
        ("those whose lesion has another photograph", several),
        ("those of lesions with one photograph", ~several),
    ):
        images = _images(ours[rows])
        scores = [run["logit"].to_numpy()[rows] for run in (theirs, ours)]
        yield compare(
            f"folds by image against folds by lesion: {told}",
            ("by image", "by lesion"),
            "AUROC",
            [auroc(images.melanoma, scores[0])],
            [auroc(images.melanoma, scores[1])],
            images,
            where=told,
        )


def weighting(results: Path) -> Iterator[Pair]:
    """A positive weight, a capped one and a sampler against none: ranking, and probabilities."""
    plain = Run(results / _BASE)
    for name, told in (
        ("weighted", "1:N weight"),
        ("capped", "weight capped at 3"),
        ("sampler", "balanced sampler"),
    ):
        run = Run(results / f"{_BASE}_{name}")
        frame = run.oof()
        base = _on(frame, plain.oof())
        images = _images(base)
        target = images.melanoma
        yield compare(
            "class imbalance",
            (told, "none"),
            "AUROC",
            [auroc(target, frame["logit"].to_numpy())],
            [auroc(target, base["logit"].to_numpy())],
            images,
        )
        pairs = zip(_states(run, frame), _states(plain, base), strict=True)
        for (state, ours), (_, theirs) in pairs:
            for metric, of in _OF_PROBABILITIES.items():
                yield compare(
                    f"class imbalance, {state}",
                    (told, "none"),
                    metric,
                    [of(target, ours)],
                    [of(target, theirs)],
                    images,
                )


_OF_PROBABILITIES: dict[str, Callable[[Integers, Floats], Statistic]] = {
    "log loss": log_loss,
    "Brier score": brier_score,
    "ECE": expected_calibration_error,
}


def _states(run: Run, frame: pd.DataFrame) -> list[tuple[str, Floats]]:
    """The run's probabilities as the network says them, prior shift out, and cross-fitted."""
    logit = frame["logit"].to_numpy(np.float64)
    shift = run.shift()
    raw = logit + np.array([shift[fold] for fold in frame["fold"]])
    return [
        ("as the network says", np.asarray(expit(raw))),
        ("prior shift taken out", np.asarray(expit(logit))),
        ("calibrated", frame["prob_crossfit"].to_numpy(np.float64)),
    ]


def one_fold(results: Path) -> Iterator[Pair]:
    """The ensemble of five against one of its members, on images that none has seen."""
    frame = Run(results / _BASE).members()
    images = _images(frame, "target")
    members = [c for c in map(str, frame) if c.startswith("logit_")]
    yield compare(
        "five folds against one, test part",
        (f"{len(members)} folds", "one (mean of each)"),
        "AUROC",
        [auroc(images.melanoma, frame["prob"].to_numpy())],
        [auroc(images.melanoma, frame[c].to_numpy(np.float64)) for c in members],
        images,
    )


def views(results: Path) -> Iterator[Pair]:
    """Fewer views against all eight symmetries: held-out images, the model of 28 November 2026.

    Four are the quarter turns; four flips are the square, its mirror images and the half turn.
    """
    run = Run(results / SHIPPED)
    frame, scores = run.oof(), _read(run.folder / "views.csv")
    assert set(scores["image_name"]) == set(frame["image_name"])
    scores = frame[["image_name"]].merge(scores, on="image_name", validate="one_to_one")
    images = _images(frame)
    for column, told in _VIEWS.items():
        yield compare(
            "views",
            (told, "8 views"),
            "AUROC",
            [auroc(images.melanoma, scores[column].to_numpy())],
            [auroc(images.melanoma, scores["views_8"].to_numpy())],
            images,
        )


def statistics(results: Path) -> Iterator[Pair]:
    """BatchNorm's statistics renewed on training images against those that training left behind.

    The last weights of `ham10000_mobilenet` with both; `training.precise_bn` of a recipe.
    """
    run = Run(results / "ham10000_mobilenet")
    frame, before = run.oof(), _read(run.folder / "running_statistics.csv")
    assert (before["image_name"] == frame["image_name"]).all()
    parts = {"all folds": np.ones(len(frame), bool)}
    parts |= {f"fold {n}": (frame["fold"] == n).to_numpy() for n in sorted(frame["fold"].unique())}
    for told, rows in parts.items():
        images = _images(frame[rows])
        yield compare(
            f"BatchNorm statistics, {told}",
            ("renewed", "running"),
            "AUROC",
            [auroc(images.melanoma, run.score("logit")[rows])],
            [auroc(images.melanoma, before["running"].to_numpy()[rows])],
            images,
            where=told,
        )


def best_epoch(results: Path) -> Iterator[Pair]:
    """The epoch that the held-out images picked against the last one, on those same images."""
    for name in (_BASE, "siim_mobilenet"):
        run = Run(results / name)
        images = _images(run.oof())
        yield compare(
            f"best epoch against last ({name})",
            ("best", "last"),
            "AUROC",
            [auroc(images.melanoma, run.score("logit_best"))],
            [auroc(images.melanoma, run.score("logit_last"))],
            images,
            where=name,
        )


def size(results: Path) -> Iterator[Pair]:
    """128 against 64 px, seven classes, the folds that both runs have."""
    large, small = Run(results / "ham10000_mobilenet"), Run(results / "ham10000_mobilenet_64px")
    other = small.oof()
    frame = _on(other, large.oof())
    rows = large.oof()["image_name"].isin(other["image_name"]).to_numpy()
    images = _images(frame)
    yield compare(
        "size",
        ("128 px", "64 px"),
        "AUROC",
        [auroc(images.melanoma, large.score("logit")[rows])],
        [auroc(images.melanoma, small.score("logit"))],
        images,
    )
    classes = load_recipe(large.folder / "recipe.yaml").classes
    target = frame["target"].to_numpy(np.int64)
    tables = [run[[f"prob_{name}" for name in classes]].to_numpy() for run in (frame, other)]
    ours, theirs = (macro_auroc(target, table) for table in tables)
    yield compare("size", ("128 px", "64 px"), "macro AUROC", [ours], [theirs], images)


def start(results: Path) -> Iterator[Pair]:
    """The SIIM sample from a network that learned HAM10000 first, against ImageNet's."""
    runs = {"from HAM10000": "siim_mobilenet_from_ham10000", "from ImageNet": "siim_mobilenet"}
    yield _of_runs("starting weights, SIIM sample", results, runs)


def draws(results: Path) -> Iterator[Pair]:
    """One recipe whose augmentation draws for each step by itself, and one stream for all.

    With one stream flips and the transposition came together or not at all: so were all runs above
    trained, but for the last five epochs of the model whose views are compared.
    """
    runs = {"each by itself": "siim_mobilenet_again", "one stream": "siim_mobilenet"}
    yield _of_runs("augmentation's draws, SIIM sample", results, runs)


def backbone(results: Path) -> Iterator[Pair]:
    """EfficientNet-Lite from ImageNet in the place of MobileNetV2, the recipe else as it was.

    MobileNetV2's weights are rebuilt from 8-bit values, with statistics of HAM10000's photographs.
    That of the clinical recipes has the fault of augmentation's draws (above), Lite2 has not.
    """
    runs = {"Lite0": "siim_lite0", "MobileNetV2": "siim_mobilenet_again"}
    yield _of_runs("backbone, SIIM sample at 128 px", results, runs)
    for name, told in (
        ("skin22_on_ham10000_folders", "six epochs at 64 px"),
        ("dermnet_on_ham10000_folders", "frozen, at 96 px"),
    ):
        runs = {"Lite2": f"{name}_lite2", "MobileNetV2": name}
        yield _of_runs(f"backbone, HAM10000 as folders, {told}", results, runs, where=told)


def _of_runs(question: str, results: Path, runs: Mapping[str, str], *, where: str = "") -> Pair:
    """Two runs of the same held-out images, by what they are called."""
    ours, theirs = (Run(results / name) for name in runs.values())
    frame = ours.oof()
    images = _images(frame)
    assert len(_on(frame, theirs.oof())) == len(theirs.oof()), "the runs differ in images"
    first, second = (auroc(images.melanoma, run.score("logit")) for run in (ours, theirs))
    one, another = runs
    return compare(question, (one, another), "AUROC", [first], [second], images, where=where)


PARTS: dict[str, Callable[[Path], Iterator[Pair]]] = {
    "Grouped against ungrouped folds": folds_by_image,
    "Class weights and samplers": weighting,
    "One fold against five": one_fold,
    "Views": views,
    "BatchNorm's statistics": statistics,
    "Best against last epoch": best_epoch,
    "128 against 64 px": size,
    "Starting from HAM10000": start,
    "Augmentation's draws": draws,
    "EfficientNet-Lite or MobileNetV2": backbone,
}


def _on(images: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """The rows of `table` that are of `images`, in their order; without one of them, no pair."""
    kept = table[table["image_name"].isin(images["image_name"])].reset_index(drop=True)
    for column in ("image_name", "target"):
        assert kept[column].tolist() == images[column].tolist(), f"the runs differ in {column}"
    return kept


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--only", action="append", choices=PARTS, help="a part; writes nothing")
    given = parser.parse_args()
    found = {name: list(PARTS[name](given.results)) for name in given.only or PARTS}
    for name, pairs in found.items():
        print("\n".join([f"## {name}", *table_lines(pairs), ""]))
    if given.only:
        return
    plain = {name: [pair.as_dict() for pair in pairs] for name, pairs in found.items()}
    write_json(given.results / "ablations.json", {**run_facts("ablations"), "parts": plain})
    draw_differences(found, given.results / "ablations.png")
    write_text(given.results / "ablations.md", "\n".join(_page(found)))


def _page(found: Mapping[str, Sequence[Pair]]) -> list[str]:
    lines = [_HEAD]
    for name, pairs in found.items():
        lines += [f"## {name}", inspect.getdoc(PARTS[name]) or "", "", *table_lines(pairs), ""]
    return lines


if __name__ == "__main__":
    main()
