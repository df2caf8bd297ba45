"""MetricSpec: what is said of a metric, how it is made and what it needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from melanoma.evaluation.metrics.bootstrap import Statistic
from melanoma.evaluation.metrics.within_patient import has_both_in_a_patient
from melanoma.evaluation.number_format import percent, share
from melanoma.evaluation.report.schema import ReportContent
from melanoma.evaluation.scored_images import ScoredImages

Need = Literal[
    "nothing", "melanoma", "several outputs", "over 3 classes", "over 5 classes", "patients"
]
NEEDS: dict[Need, Callable[[ScoredImages], bool]] = {
    "nothing": lambda images: True,
    "melanoma": lambda images: bool(images.melanoma),
    "several outputs": lambda images: not images.binary,
    "over 3 classes": lambda images: len(images.classes) > 3,
    "over 5 classes": lambda images: len(images.classes) > 5,
    "patients": has_both_in_a_patient,
}


@dataclass(frozen=True)
class Card:
    """A key number on top of a report: low ranks first; `note` is what to hold it against."""

    rank: int
    note: Callable[[ReportContent], str] = lambda content: ""
    report: Literal["always", "without melanoma", "more than two classes", "never"] = "always"
    page: bool = True


@dataclass(frozen=True)
class MetricSpec:
    """A metric: how it is called, computed, and shown.

    `short` is its name within a sentence, `wins` what the better of two runs does. `make` gives the
    Statistic of images that have what it `needs`. A share is written in percent.
    """

    title: str
    title_fr: str
    short: str
    explanation: str
    make: Callable[[ScoredImages], Statistic]
    needs: Need = "nothing"
    unit: Literal["share", "number"] = "number"
    better: Literal["higher", "lower"] = "higher"
    wins: str = "does better"
    card: Card | None = None
    terminal: bool = True  # a line of its own where the report is printed

    def applies(self, images: ScoredImages) -> bool:
        """Whether these images have what it needs."""
        return NEEDS[self.needs](images)

    def form(self, value: float | None) -> str:
        """A value of it as a person reads it."""
        return percent(value) if self.unit == "share" else share(value)
