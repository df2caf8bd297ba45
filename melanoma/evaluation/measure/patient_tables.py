"""What the tables say of the people: shortcuts around the photograph, and subgroups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from melanoma.evaluation.measure.operating_points import Threshold
from melanoma.evaluation.measure.shortcut_baselines import shortcut_baselines
from melanoma.evaluation.measure.subgroups import COLUMNS, subgroups
from melanoma.evaluation.report.schema import Shortcuts
from melanoma.evaluation.scored_images import ScoredImages


def measure_patients(
    images: ScoredImages,
    thresholds: Sequence[Threshold],
    *,
    whole: pd.DataFrame | None = None,
    by: Sequence[str] = (),
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """ReportContent's `shortcuts` and `subgroups`; none where no class is melanoma.

    `whole` is the fold file's frame where not all of it was scored: baselines learn from all of it,
    and count a patient's images there. `by` names further columns for subgroups.
    """
    if not images.melanoma:
        return {"shortcuts": None, "subgroups": []}
    baselines = _baselines(images, whole, resamples=resamples, seed=seed)
    lines = subgroups(
        images.table,
        images.positive,
        images.probability,
        thresholds[0].value,
        images.groups,
        crossfit=images.crossfit_probability,
        columns=(*(c for c in COLUMNS if c in images.table), *by),
        resamples=resamples,
        seed=seed,
    )
    return {
        "shortcuts": baselines.model_dump(mode="json") if baselines else None,
        "subgroups": [line.model_dump(mode="json") for line in lines],
    }


def _baselines(
    images: ScoredImages, whole: pd.DataFrame | None, *, resamples: int, seed: int
) -> Shortcuts | None:
    frame, positive, probability = images.table, images.positive, images.probability
    if whole is not None and len(whole) > len(frame) and {"target", "group"} <= set(whole):
        scored = pd.Series(probability, index=frame["image_name"])
        probability = scored.reindex(whole["image_name"]).to_numpy().astype(np.float64)
        numbers = [images.classes.index(name) for name in images.melanoma]
        frame, positive = whole, np.isin(whole["target"], numbers).astype(np.int64)
    return shortcut_baselines(
        frame,
        positive,
        frame["fold"].to_numpy(np.int64),
        pd.factorize(frame["group"])[0].astype(np.int64),
        model_probability=probability,
        resamples=resamples,
        seed=seed,
    )
