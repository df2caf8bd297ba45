"""Which images a model gets wrong, surely or hesitantly. Arrays alone.

`probabilities` are (N, C), `target` (N,) numbers of the true classes, and an image is called what
is likeliest; equal probabilities go to the lower class, equal images to the earlier row.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from melanoma.errors import DataError
from melanoma.types import Floats, Integers

_SURE = 1e-15


class Mistakes(NamedTuple):
    """Row numbers, the most telling first.

    `confident`: the called class's probability is highest. `unsure`: it is lowest.
    """

    confident: Integers
    unsure: Integers


def find_mistakes(probabilities: Floats, target: Integers, *, count: int) -> Mistakes:
    """At most `count` rows of each kind. Raises DataError where the arrays do not fit."""
    called, sure = calls(probabilities, target)
    wrong = np.flatnonzero(called != target)
    return Mistakes(
        wrong[np.argsort(-sure[wrong], kind="stable")][:count],
        wrong[np.argsort(sure[wrong], kind="stable")][:count],
    )


def calls(probabilities: Floats, target: Integers) -> tuple[Integers, Floats]:
    """(N,) the likeliest class of each image, and (N,) its probability."""
    if probabilities.ndim != 2 or target.shape != probabilities.shape[:1]:
        raise DataError(
            f"probabilities {probabilities.shape} do not fit targets {target.shape}: "
            "(N, C) and (N,) were expected"
        )
    called: Integers = probabilities.argmax(axis=1).astype(np.int64)
    return called, probabilities[np.arange(len(target)), called]


def cross_entropies(probabilities: Floats, target: Integers) -> Floats:
    """(N,) -ln of the true class's probability, in nats, at most 34.5."""
    true = probabilities[np.arange(len(target)), target]
    return -np.log(np.clip(true, _SURE, 1.0))
