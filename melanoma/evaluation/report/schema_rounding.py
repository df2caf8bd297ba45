"""What scoring in bfloat16 changes, as a report holds it."""

from __future__ import annotations

from melanoma.evaluation.report.schema_parts import Count, Part

# An answer may move so far and no farther.
MOST_PROBABILITY, MOST_AUROC = 0.02, 0.001


class Rounding(Part):
    """The same held-out images in float32 and in bfloat16.

    The pooled AUROC of melanoma in float32 and its change, each image by the member that never saw
    it, are null without melanomas and others. `largest_change` is of any class's probability in an
    answer, which is the mean of all members; `images_above` count those with one above
    MOST_PROBABILITY, `flags_turned` those on the other side of the bundle's threshold.
    `member_change` is the largest of one member alone; null in reports of before it was told apart,
    where the three others are of the member that never saw the image.
    """

    backend: str
    images: Count
    auroc: float | None
    auroc_change: float | None
    largest_change: float
    member_change: float | None = None
    images_above: Count
    flags_turned: Count

    @property
    def holds(self) -> bool:
        """Whether both changes are within what is promised."""
        return self.largest_change <= MOST_PROBABILITY and abs(self.auroc_change or 0) < MOST_AUROC
