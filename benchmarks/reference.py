"""Reference runs on real photographs: trained, evaluated and laid into results/, one command each.

    python -m benchmarks.reference --list
    python -m benchmarks.reference --only ham10000_mobilenet [--shared ../shared] [--work runs]
        [--mobilenet FILE]

Each run is one of configs/ with the changes that the table below states, through the doors that
anybody would use: prepare, split, train, evaluate. The same command goes on where it was stopped.
What is laid into results/NAME: recipe.yaml, oof.csv, report.json, report.html, MODEL_CARD.md (and
test/ where a test part was held out), and run.json with the date, machine, commit and seconds.
--mobilenet is mobilenet_v2_imagenet.safetensors, from which most runs start: it is copied into
weights/imagenet/, where a recipe finds it by its name.
No photograph is copied anywhere but into --work, which git ignores.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedKFold

from benchmarks.door import run_door
from benchmarks.facts import run_facts
from melanoma.data.readers.labels import HAM10000_CLASSES
from melanoma.devices import has_bfloat16
from melanoma.evaluation.score_table import OUT_OF_FOLD
from melanoma.recipe.overrides import load_recipe
from melanoma.recipe.recipe import Recipe
from melanoma.storage import write_json
from melanoma.workflows.places import IMAGENET

_FILES = ("recipe.yaml", "report.json", "report.html", "MODEL_CARD.md")
_DIGITS = 7  # of oof.csv: the files are kept in the repository


@dataclass(frozen=True)
class Run:
    """A config, the photographs it is trained on, and what is changed in it."""

    config: str
    source: str
    settings: tuple[str, ...] = ()
    folds: tuple[str, ...] = ("all",)
    shuffled: bool = False  # folds of images, whatever lesion they show: a fault, to measure it
    name: str | None = None  # of the recipe, where it is not the run's
    bfloat16: bool = False  # measure what it changes, where the processor multiplies it


# Where ImageNet's weights are not at hand, a recipe starts from nothing, and says so.
_SCRATCH = "model.pretrained=none"
_FEW_EPOCHS = "training.epochs=3"
_MOBILENET = (
    "model.backbone=mobilenet_v2",
    "model.pretrained=mobilenet_v2_imagenet.safetensors",
    "image.normalize=half",
)
# Its weights come with a package (extra [lite]).
_LITE = ("model.pretrained=imagenet", "image.normalize=half")
_LITE2 = ("model.backbone=efficientnet_lite2", *_LITE)
# HAM10000's classes as folders stand in for the two clinical sets, which are not at hand, and
# networks whose ImageNet weights are for theirs: frozen noise teaches a head nothing.
_AS_FOLDERS = (
    f"classes={json.dumps(list(HAM10000_CLASSES.values()))}",
    f"data.labels={json.dumps(HAM10000_CLASSES)}",
    "melanoma=[melanoma]",
    r"data.group_pattern=^(HAM_\d+)_",
    "data.group_is=lesion",
    "folds.name=ham10000_folders",
    "folds.holdout=folders",
)
_SKIN22 = (*_AS_FOLDERS, "image.size=64", "training.epochs=6")
_DERMNET = (*_AS_FOLDERS, "image.size=96")
# The runs that benchmarks/ablations.py compares: one thing is changed in each. A fifth of the
# lesions is a test part that none of them trains on.
_TESTED = ("folds.name=ham10000_melanoma_test", "folds.holdout=0.2")
RUNS: dict[str, Run] = {
    "ham10000_mobilenet": Run("ham10000_mobilenet", "ham10000"),
    "ham10000_mobilenet_64px": Run(
        "ham10000_mobilenet", "ham10000", ("image.size=64",), folds=("0",)
    ),
    "ham10000_melanoma": Run("ham10000_melanoma", "ham10000", _TESTED),
    # Two folds are enough to hold against the five: on their images, those of the run above.
    "ham10000_melanoma_shuffled": Run(
        "ham10000_melanoma", "ham10000", _TESTED, folds=("0", "1"), shuffled=True
    ),
    "ham10000_melanoma_weighted": Run(
        "ham10000_melanoma",
        "ham10000",
        (*_TESTED, "loss.positive_weight=ratio"),
        folds=("0", "1"),
    ),
    "ham10000_melanoma_capped": Run(
        "ham10000_melanoma",
        "ham10000",
        (*_TESTED, "loss.positive_weight=ratio", "loss.cap=3"),
        folds=("0", "1"),
    ),
    "ham10000_melanoma_sampler": Run(
        "ham10000_melanoma", "ham10000", (*_TESTED, "sampler.name=balanced"), folds=("0", "1")
    ),
    "ham10000_melanoma_resnet18_scratch": Run(
        "ham10000_melanoma",
        "ham10000",
        (*_TESTED, "model.backbone=resnet18", _SCRATCH, "training.epochs=6"),
        folds=("0",),
    ),
    "ham10000_seresnext50_scratch": Run(
        "siim_seresnext50",
        "ham10000",
        (*_TESTED, 'data={"reader": "ham10000"}', "image.fit=center", _SCRATCH, _FEW_EPOCHS),
        folds=("0",),
    ),
    # The shipped model's recipe, folds and views with the main system's network, from nothing: so
    # at one rate for all depths. Made for a GPU: benchmarks/gpu_run.sh.
    "ham10000_seresnext50": Run(
        "ham10000_mobilenet",
        "ham10000",
        (
            "model.backbone=se_resnext50_32x4d",
            _SCRATCH,
            "image.normalize=imagenet",
            "optimizer.depth_decay=1.0",
            "training.epochs=12",
        ),
    ),
    "ham10000_resnet18_scratch": Run(
        "ham10000_resnet34",
        "ham10000",
        ("model.backbone=resnet18", _SCRATCH, "image.size=64", "training.epochs=6"),
        folds=("0",),
    ),
    "ham10000_resnet34_scratch": Run(
        "ham10000_resnet34",
        "ham10000",
        (_SCRATCH, "image.size=64", "training.epochs=6"),
        folds=("0",),
    ),
    "isic_densenet161_scratch": Run(
        "isic_densenet161",
        "siim",
        (
            'data={"reader": "siim"}',
            "classes=[benign, malignant]",
            _SCRATCH,
            "image.size=96",
            "stages.0.epochs=1",
            "stages.1.epochs=3",
        ),
        folds=("0",),
    ),
    "skin22_on_ham10000_folders": Run(
        "skin22_efficientnet_b3", "ham10000_folders", (*_SKIN22, *_MOBILENET), folds=("0",)
    ),
    "skin22_on_ham10000_folders_lite2": Run(
        "skin22_efficientnet_b3",
        "ham10000_folders",
        (*_SKIN22, *_LITE2),
        folds=("0",),
        name="skin22_on_ham10000_folders",
    ),
    "dermnet_on_ham10000_folders": Run(
        "dermnet_resnet152", "ham10000_folders", (*_DERMNET, *_MOBILENET), folds=("0",)
    ),
    "dermnet_on_ham10000_folders_lite2": Run(
        "dermnet_resnet152",
        "ham10000_folders",
        (*_DERMNET, *_LITE2),
        folds=("0",),
        name="dermnet_on_ham10000_folders",
    ),
    "siim_mobilenet": Run("siim_mobilenet", "siim"),
    # The main system's network, as far as two cores train it in minutes.
    "siim_seresnext50_again": Run(
        "siim_seresnext50",
        "siim",
        (_SCRATCH, _FEW_EPOCHS),
        name="siim_seresnext50",
        bfloat16=True,
    ),
    # Since flips and the transposition are drawn each by itself (28 November 2026).
    "siim_mobilenet_again": Run("siim_mobilenet", "siim", name="siim_mobilenet"),
    "siim_lite0": Run("siim_mobilenet", "siim", ("model.backbone=efficientnet_lite0", *_LITE)),
    "siim_mobilenet_from_ham10000": Run(
        "siim_mobilenet",
        "siim",
        ("model.pretrained=fold_0.safetensors",),
    ),
}


def ham10000_folders(shared: Path, work: Path) -> Path:
    """HAM10000 as a folder a class in train/ and test/; fold 0 of its own split is test/.

    By lesion alone is not enough: five photographs of the 10,015 are in the table as two lesions,
    and training refused such a tree. A file's name begins with its lesion, to group by.
    """
    folder = work / "data" / "ham10000_folders"
    complete = folder.with_suffix(".complete")
    if complete.is_file():
        return folder
    source = shared / "data" / "ham10000"
    config, size = "configs/ham10000_resnet34.yaml", "image.size=64"
    arrays, folds = work / "arrays" / "ham10000_center", work / "folds" / "ham10000.csv"
    places = ["--data", str(source), "--arrays", str(arrays), "--folds", str(folds)]
    # The array first: without it split cannot look for near-duplicates.
    run_door("prepare", "--config", config, "--set", size, *places[:4])
    run_door("split", "--config", config, "--set", size, *places)
    images = {path.stem: path for path in source.rglob("*.jpg")}
    codes = list(HAM10000_CLASSES)
    for row in pd.read_csv(folds, dtype=str).itertuples():
        code = codes[int(str(row.target))]
        part = "test" if row.fold == "0" else "train"
        target = folder / part / code / f"{row.lesion_id}_{row.image_name}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            shutil.copyfile(images[str(row.image_name)], target)
    complete.touch()
    return folder


def shuffle_folds(folder: Path, recipe: Recipe, name: str) -> Path:
    """The recipe's fold file with its images dealt into folds one by one, stratified by class.

    The test part stays as it was, so what such folds claim can be held against it; groups are
    kept as columns, so intervals still draw lesions.
    """
    table = pd.read_csv(folder / f"{recipe.folds.name}.csv", dtype=str, keep_default_na=False)
    path = folder / f"{name}.csv"
    dealt = table.index[table["fold"] != "test"]
    splitter = StratifiedKFold(recipe.folds.k, shuffle=True, random_state=recipe.folds.seed)
    parts = splitter.split(dealt, table.loc[dealt, "target"])
    for fold, (_, held_out) in enumerate(parts):
        table.loc[dealt[held_out], "fold"] = str(fold)
    table.to_csv(path, index=False)
    return path


SOURCES: dict[str, Callable[[Path, Path], Path]] = {
    "ham10000": lambda shared, work: shared / "data" / "ham10000",
    "siim": lambda shared, work: shared / "data" / "siim2020",
    "ham10000_folders": ham10000_folders,
}


def reference(name: str, *, shared: Path, work: Path, results: Path) -> dict[str, object]:
    """The run's line of results/README.md, as values; everything is written by then."""
    run = RUNS[name]
    config = Path("configs") / f"{run.config}.yaml"
    settings = (*run.settings, f"name={run.name or name}")
    recipe = load_recipe(config, settings)
    data = SOURCES[run.source](shared, work)
    weights = work / "weights" / name
    places: list[str] = [
        *("--config", str(config), "--data", str(data), "--weights", str(weights)),
        *("--arrays", str(work / "arrays" / f"{run.source}_{recipe.image.fit}")),
        *("--folds", str(work / "folds" / f"{recipe.folds.name}.csv")),
    ]
    for setting in settings:
        places += ["--set", setting]
    leak = []
    if run.shuffled:
        if not (work / "folds" / f"{recipe.folds.name}.csv").is_file():
            weights_at = places.index("--weights")
            run_door("split", *places[:weights_at], *places[weights_at + 2 :])
        places[places.index("--folds") + 1] = str(shuffle_folds(work / "folds", recipe, name))
        leak = ["--allow-leak"]
    start = time.monotonic()
    for fold in run.folds:
        run_door("train", "--fold", fold, *places, *leak)
    missing = [] if run.folds == ("all",) else ["--allow-missing"]
    # The data sets are public, and so are their images' names.
    more = ["--bfloat16"] if run.bfloat16 and has_bfloat16() else []
    run_door("evaluate", "--names", *places, *missing, *more)
    return publish(name, weights, results / name, seconds=time.monotonic() - start)


def publish(name: str, weights: Path, folder: Path, *, seconds: float) -> dict[str, object]:
    """Copy what may be kept of a run, and say what it reached."""
    for source, target in ((weights, folder), (weights / "test", folder / "test")):
        for file in _FILES:
            if (source / file).is_file():
                target.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source / file, target / file)
        for file in (OUT_OF_FOLD, "scores.csv"):
            if (source / file).is_file():
                table = pd.read_csv(source / file, dtype={"patient_id": str, "group": str})
                packed = {"method": "gzip", "mtime": 0} if file == OUT_OF_FOLD else None
                to = target / (f"{file}.gz" if packed else file)
                _shorten(table).to_csv(to, index=False, compression=packed)
    _publish_members(weights / "test", folder / "test")
    report = json.loads((weights / "report.json").read_text())
    line: dict[str, object] = {
        "run": name,
        **run_facts("reference"),
        "seconds_of_training": round(sum(fold["seconds"] for fold in report["folds"])),
        "seconds_of_this_command": round(seconds),
        "metrics": {
            key: report["metrics"][key]
            for key in ("auroc", "macro_auroc", "balanced_accuracy", "accuracy", "macro_f1")
            if key in report["metrics"]
        },
    }
    write_json(folder / "run.json", line)
    return line


def _shorten(table: pd.DataFrame) -> pd.DataFrame:
    """The table with its numbers at _DIGITS, but for the probabilities: a threshold is one of them,
    and whoever recomputes the report from the file must find that image at it."""
    kept = re.compile(r"prob(?!_crossfit_)")
    short = [name for name in table.select_dtypes("float") if not kept.match(str(name))]
    return table.assign(
        **{str(name): table[name].map(lambda v: float(f"{v:.{_DIGITS}g}")) for name in short}
    )


def _publish_members(source: Path, target: Path) -> None:
    """test/members.csv: each member's log-odds of melanoma on the test part, one output only.

    They are the members' own, the prior shift still in them, as in `fold_N/oof.csv`.
    """
    if not (source / "member_logits.npy").is_file():
        return
    logits = np.load(source / "member_logits.npy", allow_pickle=False)
    if logits.shape[2] != 1:
        return
    scores = pd.read_csv(source / "scores.csv", dtype={"patient_id": str, "group": str})
    table = scores[["image_name", "group", "target"]].copy()
    table[[f"logit_{number}" for number in range(logits.shape[1])]] = logits[:, :, 0]
    table.to_csv(target / "members.csv", index=False, float_format=f"%.{_DIGITS}g")


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", choices=RUNS, help="a run; repeatable")
    parser.add_argument("--list", action="store_true", help="name the runs and their changes")
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="with data/")
    parser.add_argument("--work", type=Path, default=Path("runs"), help="arrays, folds, weights")
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--mobilenet", type=Path, help="put into weights/imagenet")
    given = parser.parse_args(arguments)
    if given.list:
        for name, run in RUNS.items():
            print(f"{name}: configs/{run.config}.yaml on {run.source}; {' '.join(run.settings)}")
        return
    if given.mobilenet is not None:
        IMAGENET.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(given.mobilenet, IMAGENET / given.mobilenet.name)
    for name in given.only or RUNS:
        line = reference(name, shared=given.shared, work=given.work, results=given.results)
        print(json.dumps(line))


if __name__ == "__main__":
    main()
