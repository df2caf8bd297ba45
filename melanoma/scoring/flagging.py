"""Which operating point flags an answer: the bundle's own, or the one that was asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from melanoma.errors import RecipeError
from melanoma.evaluation.prevalence import retarget
from melanoma.scoring.bundle.bundle import Bundle
from melanoma.scoring.bundle.operating import ServedPoint, asked_point


def moved_point(bundle: Bundle, threshold: float, prevalence: float | None) -> ServedPoint | None:
    """What flags from `threshold` on, a probability at this prevalence, as an answer has it."""
    own = bundle.prevalence
    if prevalence is None or own is None or prevalence == own or not 0 < threshold < 1:
        return flagging_point(bundle, threshold)
    (there,) = retarget(np.array([threshold]), trained=prevalence, wanted=own)
    point = flagging_point(bundle, float(there))
    return replace(point, value=threshold) if point else None


def flagging_point(bundle: Bundle, threshold: float | None) -> ServedPoint | None:
    """What flags: from `threshold` on where one is given, else the bundle's first point; None where
    there is none. Raises RecipeError for a threshold of a bundle without melanoma."""
    if threshold is not None and not bundle.melanoma:
        raise RecipeError("a threshold: the bundle's recipe names no melanoma class")
    if threshold is not None:
        return asked_point(threshold, bundle.curve)
    return bundle.points[0] if bundle.points else None
