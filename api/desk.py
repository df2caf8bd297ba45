"""The desk: the served bundles by name, the queue before them, and whether they are ready."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from api.limits import ScoringQueue
from api.refusals import Refusal
from melanoma.scoring.scorer import Scorer


class Desk:
    """The scorers by name, the queue before them, and whether each has given a score."""

    def __init__(self, scorers: Sequence[Scorer], *, waiting: int) -> None:
        self.scorers = {scorer.bundle.name: scorer for scorer in scorers}
        self.queue = ScoringQueue(waiting=waiting)
        self.ready = False

    def choose(self, name: str | None) -> Scorer:
        """The scorer of that name, or the first. Raises Refusal listing the names."""
        if name is None:
            return next(iter(self.scorers.values()))
        if name not in self.scorers:
            raise Refusal("unknown_model", f"no such model; served: {', '.join(self.scorers)}")
        return self.scorers[name]

    def warm_up(self) -> None:
        """Score one gray square with every scorer; ready when none raised."""
        for scorer in self.scorers.values():
            size = scorer.bundle.size
            scorer.score_squares(np.full((1, size, size, 3), 128, dtype=np.uint8))
        self.ready = True
