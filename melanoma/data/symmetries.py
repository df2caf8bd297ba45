"""The eight symmetries of a square, and the order in which fewer views than all are taken.

Turns first: two or four views are a group, so that an answer does not depend on which way round the
camera was held. Four quarter turns rank melanomas as all eight do, four flips do not
(results/ablations.md).
"""

from __future__ import annotations

import numpy as np

from melanoma.data.images import Pixels
from melanoma.errors import WeightsError

# 1, flips first, until 28 November 2026; 2, turns first.
VIEW_ORDER = 2


def dihedral_squares(squares: Pixels, views: int) -> list[Pixels]:
    """The first `views` symmetries of (B, S, S, 3): as it is, the half turn, the two quarter turns,
    and the mirror images. As transforms.dihedral_views has them, without torch."""
    mirrored, upside_down = np.flip(squares, 2), np.flip(squares, 1)
    half = np.flip(squares, (1, 2))
    turns = [squares, half, mirrored.swapaxes(1, 2), upside_down.swapaxes(1, 2)]
    return [*turns, mirrored, upside_down, squares.swapaxes(1, 2), half.swapaxes(1, 2)][:views]


def require_view_order(order: int, views: int, what: str) -> None:
    """Raise WeightsError where `what` was scored over so many views in another order, by which two
    and four of them are other views."""
    if order != VIEW_ORDER and views in (2, 4):
        raise WeightsError(
            f"{what} was scored by an earlier version, whose {views} views were mirror images "
            "instead of turns; train it again with --resume never, or keep that version"
        )
