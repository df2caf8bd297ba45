"""The eight symmetries of a square, and the order in which fewer views than all are taken.

Turns first: two or four views are a group, so that an answer does not depend on which way round the
camera was held. Four quarter turns rank melanomas as all eight do, four flips do not
(results/ablations.md).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from melanoma.data.images import Pixels
from melanoma.errors import WeightsError


class Symmetry(NamedTuple):
    """What is done to a square, in this order: rows reversed, columns reversed, both exchanged."""

    name: str
    upside_down: bool
    mirrored: bool
    transposed: bool

    def flipped(self, *, rows: int, columns: int) -> tuple[int, ...]:
        """The axes to reverse, of an array whose rows and columns are these."""
        return (rows,) * self.upside_down + (columns,) * self.mirrored


# As it is, the half turn, the two quarter turns, and the mirror images: the order of views.
SYMMETRIES = (
    Symmetry("upright", False, False, False),
    Symmetry("half_turn", True, True, False),
    Symmetry("mirrored_transposed", False, True, True),
    Symmetry("upside_down_transposed", True, False, True),
    Symmetry("mirrored", False, True, False),
    Symmetry("upside_down", True, False, False),
    Symmetry("upright_transposed", False, False, True),
    Symmetry("half_turn_transposed", True, True, True),
)
# 1, flips first, until 28 November 2026; 2, turns first.
VIEW_ORDER = 2


def dihedral_squares(squares: Pixels, views: int) -> list[Pixels]:
    """The first `views` symmetries of (B, S, S, 3): transforms.dihedral_views without torch."""
    laid: list[Pixels] = []
    for symmetry in SYMMETRIES[:views]:
        axes = symmetry.flipped(rows=1, columns=2)
        flipped = np.flip(squares, axes) if axes else squares
        laid.append(flipped.swapaxes(1, 2) if symmetry.transposed else flipped)
    return laid


def require_view_order(order: int, views: int, what: str) -> None:
    """Raise WeightsError where `what` was scored over so many views in another order, by which two
    and four of them are other views."""
    if order != VIEW_ORDER and views in (2, 4):
        raise WeightsError(
            f"{what} was scored by an earlier version, whose {views} views were mirror images "
            "instead of turns; train it again with --resume never, or keep that version"
        )
