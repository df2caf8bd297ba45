"""What bfloat16 changes, as sentences for report, card, terminal and log."""

from __future__ import annotations

from melanoma.evaluation.number_format import number
from melanoma.evaluation.report.schema_rounding import MOST_AUROC, MOST_PROBABILITY, Rounding


def describe_rounding(rounding: Rounding) -> str:
    """`on 10,015 held-out images a probability changes by 0.613 at most, ...`, and the verdict."""
    changes = (
        f"on {rounding.images:,} held-out images a probability changes by "
        f"{number(rounding.largest_change)} at most ({rounding.images_above:,} images by more than "
        f"{MOST_PROBABILITY:g})"
    )
    if rounding.member_change is not None:
        changes += f", one of a single member by {number(rounding.member_change)}"
    if rounding.auroc_change is not None:
        changes += f", the AUROC by {number(rounding.auroc_change, 4)}"
    changes += f"; flags turned: {rounding.flags_turned:,}"
    if rounding.holds:
        return f"{changes}; within {MOST_PROBABILITY:g} and {MOST_AUROC:g} of AUROC"
    return f"{changes}; too much ({MOST_PROBABILITY:g}, {MOST_AUROC:g} of AUROC): score in float32"
