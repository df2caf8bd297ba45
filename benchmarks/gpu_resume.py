"""Does a training that is stopped and resumed on this device give what an unbroken one gives?"""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.gpu_loops import BACKBONE, PLAIN_STEPS
from melanoma.data.array_build import build_array
from melanoma.data.folds import make_folds
from melanoma.data.phantoms.dataset import make_phantoms
from melanoma.data.readers.reader_catalog import read_lesions
from melanoma.errors import InterruptedRun
from melanoma.recipe.overrides import make_recipe
from melanoma.training.fit import fit_fold
from melanoma.training.fold_data import FoldData, select_fold
from melanoma.training.watchers import Watchers

Scores = npt.NDArray[np.float64]


def measure_resume(device: torch.device, *, tiny: bool) -> dict[str, Any]:
    """Largest differences of held-out logits: unbroken against unbroken, and against resumed.

    The resumed one is stopped by SIGTERM after the first of three epochs. What two unbroken
    runs differ by is the device's own (kernels that add in any order), not the resuming's.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data, recipe = _data(folder, images=64 if tiny else 256, size=32 if tiny else 96)
        first, second, resumed = (
            _train(recipe, data, folder / run, device, broken=run == "resumed")
            for run in ("first", "second", "resumed")
        )
    return {
        "epochs": recipe.training.epochs,
        "unbroken_against_unbroken": float(np.abs(first - second).max()),
        "unbroken_against_resumed": float(np.abs(first - resumed).max()),
        "spread_of_the_logits": float(first.std()),
    }


def _data(folder: Path, *, images: int, size: int) -> tuple[FoldData, Any]:
    recipe = make_recipe(
        {
            "name": "resume",
            "data": {"reader": "phantoms"},
            "image": {"size": size},
            "folds": {"name": "resume", "k": 2},
            "model": {"backbone": BACKBONE, "dropout": 0.2},
            "augment": PLAIN_STEPS,
            "training": {"epochs": 3, "batch_size": 16, "ema_decay": 0.9},
            "selection": {"keep": "last"},
        }
    )
    make_phantoms(folder, images=images, patients=images // 3, size=size, seed=0)
    table = read_lesions(folder, recipe.data)
    array = build_array(table, folder / "arrays", recipe.image)
    return select_fold(array, make_folds(table, recipe.folds), 0), recipe


def _train(
    recipe: Any, data: FoldData, folder: Path, device: torch.device, *, broken: bool
) -> Scores:
    def stop(record: dict[str, Any]) -> None:
        if broken and record["epoch"] == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    options: dict[str, Any] = {"device": device, "imagenet": folder / "imagenet"}
    try:
        run = fit_fold(recipe, data, folder, watchers=Watchers(epoch=stop), **options)
        if broken:
            raise RuntimeError("the signal stopped nothing")
    except InterruptedRun:
        run = fit_fold(recipe, data, folder, **options)
    scores: Scores = run.scores.logits("logit_last")
    return scores
