"""What scoring in bfloat16 changes, as a report holds it."""

from __future__ import annotations

from melanoma.evaluation.report.schema_parts import Count, Part

# An answer may move so far and no farther.
MOST_PROBABILITY, MOST_AUROC = 0.02, 0.001


class Rounding(Part):
    """The same held-out images in float32 and in bfloat16, each by the member that never saw it.

    The pooled AUROC of melanoma in float32 and its change are null without melanomas and others;
    `largest_change` is of any class's probability, `images_above` count those with one above
    MOST_PROBABILITY, `flags_turned` those on the other side of the bundle's threshold.
    """

    backend: str
    images: Count
    auroc: float | None
    auroc_change: float | None
    largest_change: float
    images_above: Count
    flags_turned: Count

    @property
    def holds(self) -> bool:
        """Whether both changes are within what is promised."""
        return self.largest_change <= MOST_PROBABILITY and abs(self.auroc_change or 0) < MOST_AUROC
