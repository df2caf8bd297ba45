"""The limits of a photograph's quality, learned from the array that a run was trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from melanoma.data.arrays import ImageArray
from melanoma.data.find_array import find_array
from melanoma.data.square_quality import measure_square
from melanoma.errors import DataError
from melanoma.evaluation.measure.picture_quality import FEWEST, fit_quality
from melanoma.evaluation.report.schema import ReportContent
from melanoma.workflows.finished import FinishedFolds
from melanoma.workflows.watch import Watch

MOST = 4_000  # images, drawn at random: a minute's work, and a quantile of 0.2 % is 8 of them


def add_quality(
    content: ReportContent, trained: FinishedFolds, arrays: Path | None, *, watch: Watch
) -> ReportContent:
    """The report with the limits of the run's images; as it is where they cannot be learned.

    A note says why: the array in `arrays` is another, or none, or holds too few images.
    """
    array = _training_array(trained, arrays)
    frame = trained.scores.frame
    if array is None or len(frame) < FEWEST:
        why = "the array that was trained on is not at hand" if array is None else "too few images"
        watch.say(f"note: the bundle will not judge the quality of photographs ({why})")
        return content
    drawn = np.arange(len(frame))
    if len(drawn) > MOST:
        rng = np.random.default_rng(trained.recipe.seed)
        drawn = np.sort(rng.choice(drawn, MOST, replace=False))
    rows = [array.row_of[name] for name in frame["image_name"].iloc[drawn]]
    measured = [measure_square(array.rows([row])[0]).as_row() for row in rows]
    quality = fit_quality(np.array(measured), frame["label"].iloc[drawn].tolist())
    return content.model_copy(update={"quality": quality})


def _training_array(trained: FinishedFolds, arrays: Path | None) -> ImageArray | None:
    try:
        array = (
            find_array(arrays, trained.recipe.image, data=arrays, amend=False) if arrays else None
        )
    except DataError:
        return None
    return array if array and array.digest == trained.facts[0].array_digest else None
