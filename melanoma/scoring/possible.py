"""Which classes a photograph may be, and when that is too much doubt for a calm verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from melanoma.evaluation.measure.prediction_sets import spans_risks
from melanoma.scoring.bundle.bundle import Bundle

_SEE = "Have a doctor look at it."


@dataclass(frozen=True)
class PossibleClasses:
    """The classes that a photograph may be, the likeliest first: of each class's lesions a share of
    `level` has a set with that class."""

    level: float
    classes: list[str]


def possible_classes(bundle: Bundle, by_class: Mapping[str, float]) -> PossibleClasses | None:
    """The set of a photograph; None of a bundle from before there were sets.

    `by_class` are the probabilities that the bundle serves, in the order of its classes. Their
    likeliest belongs to it, moved to another prevalence or not.
    """
    if bundle.sets is None:
        return None
    shares = np.array([by_class[name] for name in bundle.classes])
    inside = bundle.sets.of(shares, bundle.calibration.class_prevalence)
    inside[shares.argmax()] = True
    names = [name for name, held in zip(bundle.classes, inside, strict=True) if held]
    ranked = sorted(names, key=lambda name: -by_class[name])
    return PossibleClasses(bundle.sets.level, ranked)


def doubt(bundle: Bundle, possible: PossibleClasses | None) -> str | None:
    """Why the verdict is `unsure` and what to do, in sentences; None where it is not.

    It is where the set holds both a cancer (or a precursor of one) and a harmless class.
    """
    if possible is None:
        return None
    inside = np.isin(bundle.classes, possible.classes)
    if not spans_risks(inside, bundle.classes, bundle.melanoma, bundle.risk):
        return None
    *first, last = possible.classes
    return (
        f"Not flagged, but the model cannot tell {', '.join(first)} from {last} here: a cancer or "
        f"a precursor of one is not ruled out. {_SEE}"
    )
