"""A finished run's folds with BatchNorm's statistics renewed, as its recipe would with precise_bn.

    python -m benchmarks.precise_bn --weights A --out B --arrays ARRAYS --folds FOLDS [--fold N]
    python -m benchmarks.precise_bn --out B --table results/NAME/running_statistics.csv

The statistics never enter the training, so the last epoch's weights of a run with
`training.precise_bn` differ from those of one without in the statistics alone: what is written
into B is what training with it would have kept. Of the best epoch there are only the scores of
before, and they are copied. B/fold_N/before.csv has the last epoch's logits of before; --table
writes the log-odds of melanoma that they make, which benchmarks/ablations.py compares.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file

from benchmarks.views import log_odds
from melanoma.data.arrays import load_array
from melanoma.data.folds import load_folds
from melanoma.evaluation.score_table import load_scores, save_scores
from melanoma.models.classifier import make_classifier
from melanoma.recipe.overrides import make_recipe
from melanoma.training.batchnorm import renew_statistics, statistics_rows
from melanoma.training.epoch import predict_rows
from melanoma.training.fold_data import score_table, select_fold
from melanoma.training.run.run_folder import (
    MODEL,
    finish_run,
    fold_folder,
    load_run,
    read_recipe,
    start_run,
)

IMAGES = 2560


def renew_fold(weights: Path, out: Path, fold: int, *, arrays: Path, folds: Path) -> None:
    """One fold of `weights` into `out`, finished like any other."""
    start = time.monotonic()
    source, target = fold_folder(weights, fold), fold_folder(out, fold)
    run, old = load_run(source), read_recipe(source)
    training = {**old.training.model_dump(), "precise_bn": IMAGES}
    recipe = make_recipe({**old.model_dump(mode="json"), "training": training})
    array, table = load_array(arrays, recipe.image), load_folds(folds, classes=recipe.classes)
    assert array is not None, f"no array in {arrays}"
    data = select_fold(array, table, fold, classes=recipe.classes)
    classifier = make_classifier(
        recipe.model.backbone,
        outputs=recipe.outputs,
        dropout=recipe.model.dropout,
        head=recipe.model.head,
    ).to(memory_format=torch.channels_last)
    classifier.load_state_dict(load_file(source / MODEL))
    normalize, size = recipe.image.normalize, recipe.training.batch_size
    renew_statistics(
        classifier,
        array,
        statistics_rows(data.training, IMAGES, seed=(recipe.seed, fold)),
        normalize=normalize,
        batch_size=size,
    )
    logits = predict_rows(
        classifier,
        array,
        data.validation,
        normalize=normalize,
        views=recipe.evaluation.views,
        batch_size=size,
    )
    best = run.scores.logits("logit_best")
    scores = score_table(data, kept=logits, best=best, last=logits)
    names = scores.frame["image_name"].tolist()
    assert names == run.scores.frame["image_name"].tolist()
    target.mkdir(parents=True, exist_ok=True)
    seconds = round(run.facts.seconds + time.monotonic() - start, 1)
    facts = run.facts.model_copy(update={"recipe_digest": recipe.digest(), "seconds": seconds})
    start_run(target, recipe, facts.model_copy(update={"finished": False}))
    shutil.copyfile(source / "metrics.jsonl", target / "metrics.jsonl")
    save_scores(run.scores, target / "before.csv")
    finish_run(target, classifier.state_dict(), scores, facts)
    change = float(np.abs(logits - run.scores.logits("logit")).mean())
    print(json.dumps({"fold": fold, "mean_change_of_a_logit": round(change, 4)}))


def scores_before(out: Path) -> pd.DataFrame:
    """image_name, fold and the log-odds of melanoma that every fold gave before."""
    tables = []
    for folder in sorted(out.glob("fold_*")):
        recipe = read_recipe(folder)
        scores = load_scores(folder / "before.csv", recipe.classes)
        melanoma = [recipe.classes.index(name) for name in recipe.melanoma]
        frame = scores.frame[["image_name", "fold"]]
        tables.append(frame.assign(running=log_odds(scores.logits(), melanoma)))
    return pd.concat(tables, ignore_index=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, help="a run whose last epoch is kept")
    parser.add_argument("--out", type=Path, required=True, help="where the renewed run goes")
    parser.add_argument("--arrays", type=Path, help="what it was trained on")
    parser.add_argument("--folds", type=Path, help="its fold file")
    parser.add_argument("--table", type=Path, help="the CSV to write, of a run that is renewed")
    parser.add_argument("--fold", type=int, action="append", help="repeatable (default all)")
    given = parser.parse_args()
    if given.table:
        scores_before(given.out).to_csv(given.table, index=False, float_format="%.6g")
        return
    if not (given.weights and given.arrays and given.folds):
        parser.error("--weights, --arrays and --folds, or --table")
    numbers = given.fold or load_folds(given.folds).folds
    for number in numbers:
        renew_fold(given.weights, given.out, number, arrays=given.arrays, folds=given.folds)


if __name__ == "__main__":
    main()
