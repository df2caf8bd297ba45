"""What a faster precision changes: the same images scored twice, and how far apart.

Nothing here imports torch: a service that another backend runs says what is known without it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from melanoma.evaluation.report.rounding_words import describe_rounding
from melanoma.evaluation.report.schema_rounding import MOST_PROBABILITY, Rounding
from melanoma.scoring.scorer import Scorer
from melanoma.types import Flags, Floats, Integers


def measure_rounding(
    exact: Floats,
    rounded: Floats,
    own: Integers,
    positive: Flags,
    *,
    melanoma: list[int],
    threshold: float | None,
    backend: str,
    served: Callable[[Floats], Floats] = lambda by_class: by_class,
) -> Rounding:
    """Of (N, K, C) probabilities of the members before and after; `own` (N,) is the member that
    never saw the image, of the K, `positive` (N,) are the melanomas, `melanoma` the columns whose
    sum is their probability, `threshold` what flags, None where nothing does, `served` what a
    bundle makes of them in an answer."""
    before, after = (each[..., melanoma].sum(axis=-1) for each in (exact, rounded))
    first = second = None
    if positive.any() and not positive.all():
        held = np.arange(len(own)), own
        first, second = _auroc(before[held], positive), _auroc(after[held], positive)
    means = [served(each.mean(axis=1)) for each in (exact, rounded)]
    moved = np.abs(means[1] - means[0]).max(axis=1)
    flags = (each[:, melanoma].sum(axis=1) >= (threshold or 0.0) for each in means)
    return Rounding(
        backend=backend,
        images=len(exact),
        auroc=first,
        auroc_change=None if first is None or second is None else second - first,
        largest_change=float(moved.max()),
        member_change=float(np.abs(served(rounded) - served(exact)).max()),
        images_above=int((moved > MOST_PROBABILITY).sum()),
        flags_turned=int(np.not_equal(*flags).sum()),
    )


def precision_note(scorer: Scorer) -> str | None:
    """What is known of a scorer's bfloat16, in one sentence; None of one in float32."""
    if scorer.members.precision == "float32":
        return None
    measured = scorer.bundle.report.bfloat16
    if measured is None:
        return (
            "bfloat16: what it changes of this bundle's answers was not measured "
            "(python -m melanoma.evaluate --bfloat16 measures it); it was evaluated in float32"
        )
    told = f"bfloat16: {describe_rounding(measured)}"
    if measured.backend == scorer.members.backend:
        return told
    # Each rounds at places of its own: one's figures are no promise of the other's.
    return f"{told}; that is by {measured.backend}, and by {scorer.members.backend} not measured"


def _auroc(scores: Floats, positive: Flags) -> float:
    """Share of pairs of a melanoma and another in which it scores higher, ties a half."""
    others = np.sort(scores[~positive])
    below = np.searchsorted(others, scores[positive], side="left")
    upto = np.searchsorted(others, scores[positive], side="right")
    return float((below + upto).mean() / (2 * len(others)))
