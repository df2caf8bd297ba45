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
from pathlib import Path

import pandas as pd

from benchmarks.rescored_fold import finish_again, open_fold
from benchmarks.views import log_odds
from melanoma.data.folds import load_folds
from melanoma.evaluation.score_table import load_scores
from melanoma.recipe.overrides import make_recipe
from melanoma.training.batchnorm import renew_statistics, statistics_rows
from melanoma.training.run.run_folder import fold_folder, read_recipe

IMAGES = 2560


def renew_fold(weights: Path, out: Path, fold: int, *, arrays: Path, folds: Path) -> None:
    """One fold of `weights` into `out`, finished like any other."""
    one = open_fold(fold_folder(weights, fold), arrays=arrays, folds=folds)
    training = {**one.recipe.training.model_dump(), "precise_bn": IMAGES}
    recipe = make_recipe({**one.recipe.model_dump(mode="json"), "training": training})
    renew_statistics(
        one.classifier,
        one.array,
        statistics_rows(one.data.training, IMAGES, seed=(recipe.seed, fold)),
        normalize=recipe.image.normalize,
        batch_size=recipe.training.batch_size,
    )
    target = fold_folder(out, fold)
    change = finish_again(one, target, recipe, recipe_digest=recipe.digest())
    print(json.dumps({"fold": fold, "mean_change_of_a_logit": round(change, 4)}))


def scores_before(out: Path) -> pd.DataFrame:
    """image_name, fold and the log-odds of melanoma that every fold gave before."""
    tables = []
    for folder in sorted(out.glob("fold_*")):
        recipe = read_recipe(folder)
        scores = load_scores(folder / "before.csv", recipe.classes)
        melanoma = recipe.melanoma_columns
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
