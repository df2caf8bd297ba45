"""Members: the networks of a bundle, whatever runs them. Squares in, logits out, by member.

Nothing here imports torch: a service that another backend runs does without it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from melanoma.data.images import Pixels
from melanoma.scoring.explain.evidence import Evidence
from melanoma.types import Floats

if TYPE_CHECKING:
    from melanoma.scoring.backends.torch_members import TorchMembers

Logits: TypeAlias = npt.NDArray[np.float64]
MemberEmbeddings: TypeAlias = npt.NDArray[np.float32]
Check: TypeAlias = Callable[[], None]


def go_on() -> None:
    """Nothing ends the work."""


class MemberAnswers(NamedTuple):
    """The members' calibrated probabilities, (B, K, C), and the pictures' novelty, (B,): None where
    the bundle has no such score."""

    probabilities: Floats
    novelty: Floats | None


class Outputs(NamedTuple):
    """Of one pass through the members: their logits, (B, K, outputs), and their embeddings of the
    upright squares, (B, K, D) float32, from which those of the first view were made."""

    logits: Logits
    embeddings: MemberEmbeddings


class Members(Protocol):
    """The ensemble's networks behind one seam: a faster backend implements this and no more."""

    @property
    def backend(self) -> str:
        """What runs them, as people call it."""

    @property
    def precision(self) -> str:
        """The type of their products: float32, bfloat16 or float16."""

    @property
    def folds(self) -> tuple[int, ...]:
        """The members' folds, in the order of their logits."""

    def logits(self, squares: Pixels, *, views: int, check: Check = go_on) -> Logits:
        """(B, K, outputs) of (B, S, S, 3) uint8 RGB: each member's mean over the first `views`
        symmetries, the prior shift still in it. `check` is called before each piece of the work,
        one member's at most, and what it raises ends it."""

    def outputs(self, squares: Pixels, *, views: int, check: Check = go_on) -> Outputs:
        """The same logits, and the embeddings of the first view, of one pass."""

    def heat(self, square: Pixels, evidence: Evidence) -> list[Floats]:
        """(h, w) in [0, 1] of each network: which places of (S, S, 3) speak for the evidence."""

    def alone(self) -> Sequence[Members]:
        """Each member by itself."""

    def faster(self) -> Members:
        """The same members, equal up to rounding and not bit for bit: for many questions."""

    def reference(self) -> TorchMembers:
        """The same members on torch in float32, for what needs gradients."""


class WatchedMembers:
    """Other members, with `check` before each piece of their work: what it raises ends it."""

    def __init__(self, members: Members, check: Check) -> None:
        self._members, self._check = members, check
        self.backend, self.folds = members.backend, members.folds
        self.precision = members.precision

    def logits(self, squares: Pixels, *, views: int, check: Check = go_on) -> Logits:
        """(B, K, outputs), see Members."""
        return self._members.logits(squares, views=views, check=self._with(check))

    def outputs(self, squares: Pixels, *, views: int, check: Check = go_on) -> Outputs:
        """See Members."""
        return self._members.outputs(squares, views=views, check=self._with(check))

    def heat(self, square: Pixels, evidence: Evidence) -> list[Floats]:
        """See Members."""
        self._check()
        return self._members.heat(square, evidence)

    def alone(self) -> list[WatchedMembers]:
        """Each member by itself, watched."""
        return [WatchedMembers(member, self._check) for member in self._members.alone()]

    def faster(self) -> WatchedMembers:
        """The faster ones, watched."""
        return WatchedMembers(self._members.faster(), self._check)

    def reference(self) -> TorchMembers:
        """Torch's, not watched."""
        return self._members.reference()

    def _with(self, check: Check) -> Check:
        def both() -> None:
            check()
            self._check()

        return both
