"""What an explanation by LIME costs here, and so which precisions are offered."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from api.error_answers import Refusal
from melanoma.scoring.explain.explain_options import PRECISIONS
from melanoma.scoring.explain.explainer_catalog import EXPLAINERS
from melanoma.scoring.explain.explainers import time_evaluation
from melanoma.scoring.scorer import Scorer

log = logging.getLogger("melanoma.api")

# Superpixels, regression and picture, once an explanation.
SETUP_SECONDS = 1.0
# What is offered takes so much less than the deadline: scores beside it go first.
MARGIN = 1.5


class Costs:
    """Seconds of LIME by bundle: measured at the start, and as explanations came since.

    What does not fit into `deadline` by the measure at the start is not offered; one explanation
    on a busy machine changes the expectation, and not the offer.
    """

    def __init__(self, *, deadline: float) -> None:
        self.deadline = deadline
        self._each: dict[str, float] = {}
        self._latest: dict[tuple[str, str], float] = {}

    def measure(self, scorers: Mapping[str, Scorer]) -> None:
        """Time one evaluation of each bundle."""
        for name, scorer in scorers.items():
            try:
                self._each[name] = time_evaluation(scorer)
            except Exception:
                # Scores need none of it; an explanation's own failure is told to its caller.
                log.exception("%s: LIME could not be timed", name)

    def note(self, model: str, precision: str, seconds: float) -> None:
        """Keep what the latest explanation took."""
        self._latest[model, precision] = seconds

    def expect(self, model: str, precision: str) -> float | None:
        """The latest of that precision, or in proportion to the highest other, or by the measure;
        None where there is none of them."""
        for other in (precision, *reversed(PRECISIONS)):
            seconds = self._latest.get((model, other))
            if seconds is not None:
                return seconds * PRECISIONS[precision] / PRECISIONS[other]
        return self._by_measure(model, precision)

    def offered(self, model: str) -> list[str]:
        """The precisions that fit into the deadline."""
        return [name for name in PRECISIONS if self._fits(model, name)]

    def require(self, model: str, precision: str) -> None:
        """Raise Refusal where this precision does not fit: no caller waits a minute for that."""
        if self._fits(model, precision):
            return
        seconds = self._by_measure(model, precision)
        fitting = " or ".join(self.offered(model))
        quick = " or ".join(name for name, entry in EXPLAINERS.items() if not entry.slow)
        raise Refusal(
            "does_not_fit",
            f"precision: {precision} takes about {seconds:.0f} seconds here, of the "
            f"{self.deadline:g} that an explanation has; "
            + (f"ask for {fitting}" if fitting else f"ask for the method {quick}"),
        )

    def _fits(self, model: str, precision: str) -> bool:
        seconds = self._by_measure(model, precision)
        return seconds is None or seconds * MARGIN <= self.deadline

    def _by_measure(self, model: str, precision: str) -> float | None:
        each = self._each.get(model)
        return None if each is None else SETUP_SECONDS + each * PRECISIONS[precision]
