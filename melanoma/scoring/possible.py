"""Which classes a photograph may be, and when that is too much doubt for a calm verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from melanoma.evaluation.measure.prediction_sets import spans_risks
from melanoma.scoring.bundle.bundle import Bundle
from melanoma.types import Floats

_SEE = "Have a doctor look at it."


@dataclass(frozen=True)
class PossibleClasses:
    """The classes that a photograph may be, the likeliest first: of each class's lesions a share of
    `level` has a set with that class."""

    level: float
    classes: list[str]

    def at(self, by_class: Mapping[str, float]) -> PossibleClasses:
        """The same set of an answer that was moved to these probabilities, whose likeliest belongs
        to it."""
        names = {*self.classes, max(by_class, key=lambda name: by_class[name])}
        return PossibleClasses(self.level, sorted(names, key=lambda name: -by_class[name]))


def possible_classes(
    bundle: Bundle, mean: Floats, by_class: Mapping[str, float]
) -> PossibleClasses | None:
    """The set of a photograph; None of a bundle from before there were sets.

    `mean` are the members' calibrated probabilities, (C,), not moved; `by_class` those of the
    answer, whose likeliest belongs to the set.
    """
    if bundle.sets is None:
        return None
    inside = bundle.sets.of(mean)
    names = [name for name, held in zip(bundle.classes, inside, strict=True) if held]
    return PossibleClasses(bundle.sets.level, names).at(by_class)


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
