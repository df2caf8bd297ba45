"""A run that saves after one step, and is killed by SIGKILL in the next: see test_fit.py.

Arguments: recipe, arrays, fold file, run folder, and the step (counted over epochs) to save after.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from melanoma.data.arrays import load_array
from melanoma.data.folds import load_folds
from melanoma.recipe.overrides import load_recipe
from melanoma.training import loop
from melanoma.training.fit import fit_fold
from melanoma.training.fold_data import select_fold


def main() -> None:
    recipe_path, arrays, folds, folder = map(Path, sys.argv[1:5])
    last, steps = int(sys.argv[5]), 0
    recipe = load_recipe(recipe_path)
    array = load_array(arrays, recipe.image)
    assert array is not None

    def bar(total: int, done: int, what: str) -> Callable[[], None]:
        def advance() -> None:
            nonlocal steps
            steps += 1
            if steps == last:  # called before the loop asks whether a save is due
                loop._SAVE_SECONDS, loop._SAVE_SHARE = 0.0, float("inf")
            if steps == last + 1:
                os.kill(os.getpid(), signal.SIGKILL)

        return advance

    torch.set_num_threads(1)
    fit_fold(
        recipe,
        select_fold(array, load_folds(folds), 0),
        folder,
        device=torch.device("cpu"),
        imagenet=folder / "imagenet",
        watchers=loop.Watchers(bar=bar),
    )


main()
