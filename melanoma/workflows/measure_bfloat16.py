"""What scoring in bfloat16 changes of a sealed run, put into its bundle."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from melanoma.devices import Device, require_bfloat16
from melanoma.errors import DataError, RecipeError
from melanoma.evaluation.report.rounding_words import describe_rounding
from melanoma.evaluation.report.schema import ReportContent
from melanoma.recipe.recipe import Recipe
from melanoma.scoring.backends.backend_catalog import PRECISIONS, Engine
from melanoma.scoring.bundle.golden import open_scorer
from melanoma.scoring.bundle.reseal import reseal
from melanoma.scoring.held_out import score_by_all
from melanoma.scoring.rounding import measure_rounding
from melanoma.types import Floats
from melanoma.workflows.embed_held_out import trained_array
from melanoma.workflows.finished import FinishedFolds
from melanoma.workflows.watch import Watch


def require_measurable(recipe: Recipe, device: Device) -> None:
    """Raise RecipeError, before anything is computed, where bfloat16 cannot be measured."""
    if recipe.model.embeddings is not None:
        raise RecipeError("--bfloat16: a head on given embeddings has no network to score with")
    require_bfloat16(device)


def attach_bfloat16(
    trained: FinishedFolds, arrays: Path | None, *, device: Device, watch: Watch
) -> ReportContent:
    """The report of the bundle in `trained.folder` with the change in it, sealed anew.

    Every held-out image is scored twice by all members, as they are served: by the backend that is
    chosen unasked, over the bundle's views. Raises DataError where the array of the
    folds is not in `arrays`.
    """
    array = trained_array(trained, arrays, watch=watch)
    if array is None:
        raise DataError(
            "--bfloat16: measuring it needs the array that the folds were trained on; name its "
            "folder with --arrays (the bundle is sealed without it)"
        )
    frame, found = trained.scores.frame, list[Floats]()
    rows = np.array([array.row_of[name] for name in frame["image_name"]], dtype=np.int64)
    for precision in watch.progress(PRECISIONS, desc="bfloat16", unit="pass"):
        scorer = open_scorer(trained.folder, device=device, engine=Engine(precision=precision))
        found.append(score_by_all(scorer, array, rows))
    bundle = scorer.bundle
    exact, rounded = found
    rounding = measure_rounding(
        exact,
        rounded,
        np.searchsorted(scorer.members.folds, frame["fold"].to_numpy(np.int64)),
        np.isin(trained.scores.target, bundle.melanoma_columns),
        melanoma=bundle.melanoma_columns,
        threshold=bundle.threshold.value if bundle.threshold else None,
        backend=scorer.members.backend,
        served=bundle.served,
    )
    watch.say(f"bfloat16: {describe_rounding(rounding)}")
    return reseal(bundle, bundle.report.model_copy(update={"bfloat16": rounding})).report
