"""A finished run's folds with their weights rounded to bfloat16, as training.bfloat16_weights does.

    python -m benchmarks.round_shipped --weights A --out B --arrays ARRAYS --folds FOLDS [--fold N]

For a run that was trained before that option existed, or whose weights were averaged after it
(benchmarks/start_average.py). What rounding shifts is measured on images of each fold's training
part; held-out images are scored anew. B's recipe and its records say that it was done.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from benchmarks.rescored_fold import finish_again, open_fold
from melanoma.data.folds import load_folds
from melanoma.recipe.overrides import make_recipe
from melanoma.training.bfloat16_weights import round_fold
from melanoma.training.run.run_folder import fold_folder


def round_fold_folder(source: Path, target: Path, *, arrays: Path, folds: Path) -> None:
    """The finished fold in `source` into `target`, finished like any other."""
    one = open_fold(source, arrays=arrays, folds=folds)
    training = {**one.recipe.training.model_dump(mode="json"), "bfloat16_weights": True}
    recipe = make_recipe({**one.recipe.model_dump(mode="json"), "training": training})
    round_fold(recipe, one.data, one.classifier, one.array)
    change = finish_again(one, target, recipe, recipe_digest=recipe.digest())
    print(
        json.dumps({"fold": one.run.fold, "mean_change_of_a_logit": round(change, 4)}), flush=True
    )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, required=True, help="a finished run")
    parser.add_argument("--out", type=Path, required=True, help="where the rounded run goes")
    parser.add_argument("--arrays", type=Path, required=True, help="what it was trained on")
    parser.add_argument("--folds", type=Path, required=True, help="its fold file")
    parser.add_argument("--fold", type=int, action="append", help="repeatable (default all)")
    given = parser.parse_args()
    for fold in given.fold or load_folds(given.folds).folds:
        source, target = (fold_folder(folder, fold) for folder in (given.weights, given.out))
        if not (target / "oof.csv").is_file():
            round_fold_folder(source, target, arrays=given.arrays, folds=given.folds)


if __name__ == "__main__":
    main()
