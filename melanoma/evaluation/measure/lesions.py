"""Several images of one lesion: the mean of their probabilities, and how far they lie apart."""

from __future__ import annotations

import numpy as np
import pandas as pd

from melanoma.evaluation.metrics.bootstrap import Statistic, bootstrap_intervals
from melanoma.evaluation.metrics.ranking import auroc
from melanoma.evaluation.report.schema_parts import Measured
from melanoma.evaluation.report.schema_patients import LesionFigures
from melanoma.evaluation.scored_images import ScoredImages, lesion_keys
from melanoma.types import Integers


def lesion_figures(images: ScoredImages, *, resamples: int, seed: int) -> LesionFigures | None:
    """The figures per lesion; None where no class is melanoma, or no lesion has several images."""
    if not images.melanoma:
        return None
    table = pd.DataFrame(
        {
            "lesion": lesion_keys(images.table),
            "row": np.arange(len(images)),
            "positive": images.positive,
            "score": images.probability,
        }
    )
    grouped = table.groupby("lesion", sort=False)
    lesions = grouped.agg(
        row=("row", "min"),
        images=("row", "size"),
        positive=("positive", "max"),
        score=("score", "mean"),
        low=("score", "min"),
        high=("score", "max"),
    )
    several = lesions[lesions["images"] > 1]
    if several.empty:
        return None
    groups = pd.factorize(images.groups[lesions["row"].to_numpy()])[0].astype(np.int64)
    of_lesions = auroc(lesions["positive"].to_numpy(), lesions["score"].to_numpy())

    def interval(statistic: Statistic, numbers: Integers) -> Measured:
        rng = np.random.default_rng(seed)
        made = bootstrap_intervals({"": statistic}, numbers, resamples=resamples, rng=rng)
        return made[""].measured()

    spread = (several["high"] - several["low"]).to_numpy()
    return LesionFigures(
        lesions=len(lesions),
        with_several=len(several),
        images_of_several=int(several["images"].sum()),
        auroc=interval(of_lesions, groups),
        auroc_of_images=interval(auroc(images.positive, images.probability), images.groups),
        spread_median=float(np.median(spread)),
        spread_95=float(np.percentile(spread, 95)),
    )
