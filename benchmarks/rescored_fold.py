"""A finished fold whose weights are changed afterwards, scored and finished like any other."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from melanoma.data.arrays import ImageArray, load_array
from melanoma.data.folds import load_folds
from melanoma.evaluation.score_table import save_scores
from melanoma.models.classifier import Classifier, make_classifier
from melanoma.recipe.recipe import Recipe
from melanoma.training.epoch import predict_rows
from melanoma.training.fold_data import FoldData, score_table, select_fold
from melanoma.training.run.run_folder import (
    MODEL,
    FoldRun,
    finish_run,
    load_run,
    read_recipe,
    start_run,
)


@dataclass(frozen=True)
class FinishedFold:
    """A fold's run, its recipe, its data, and its network with the weights that were kept."""

    folder: Path
    run: FoldRun
    recipe: Recipe
    array: ImageArray
    data: FoldData
    classifier: Classifier


def open_fold(folder: Path, *, arrays: Path, folds: Path) -> FinishedFold:
    """The finished fold in `folder`."""
    run, recipe = load_run(folder), read_recipe(folder)
    array, table = load_array(arrays, recipe.image), load_folds(folds, classes=recipe.classes)
    assert array is not None, f"no array in {arrays}"
    data = select_fold(array, table, run.fold, classes=recipe.classes)
    classifier = make_classifier(
        recipe.model.backbone,
        outputs=recipe.outputs,
        dropout=recipe.model.dropout,
        head=recipe.model.head,
    ).to(memory_format=torch.channels_last)
    classifier.load_state_dict(load_file(folder / MODEL))
    return FinishedFold(folder, run, recipe, array, data, classifier)


def finish_again(one: FinishedFold, target: Path, recipe: Recipe, **facts: Any) -> float:
    """Score the held-out images by the classifier as it is now, and write the fold into `target`,
    its facts changed by `facts`; returns the mean change of a logit.

    Of the best epoch there are only the scores of before, and they are copied. before.csv has the
    scores of before.
    """
    start = time.monotonic()
    logits = predict_rows(
        one.classifier,
        one.array,
        one.data.validation,
        normalize=recipe.image.normalize,
        views=recipe.evaluation.views,
        batch_size=recipe.training.batch_size,
    )
    best = one.run.scores.logits("logit_best")
    scores = score_table(one.data, selected=logits, best=best, last=logits)
    names = scores.frame["image_name"].tolist()
    assert names == one.run.scores.frame["image_name"].tolist()
    target.mkdir(parents=True, exist_ok=True)
    seconds = round(one.run.facts.seconds + time.monotonic() - start, 1)
    told = one.run.facts.model_copy(update={"seconds": seconds, **facts})
    start_run(target, recipe, told.model_copy(update={"finished": False}))
    for name in ("metrics.jsonl", "training_images.csv"):
        if (one.folder / name).is_file():
            shutil.copyfile(one.folder / name, target / name)
    save_scores(one.run.scores, target / "before.csv")
    finish_run(target, one.classifier.state_dict(), scores, told)
    return float(np.abs(logits - one.run.scores.logits("logit")).mean())
