"""ProbabilityGraph: a bundle's members, calibration and mean as one torch module.

What it gives is what Scorer gives at the same number of views, in float32: squares as bytes in,
calibrated probabilities out. Neither verdict nor novelty nor quality is in it.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from melanoma.data.images import Pixels
from melanoma.data.transforms import dihedral_views, to_tensor
from melanoma.errors import MelanomaError
from melanoma.scoring.backends.torch_members import TorchMembers, load_members
from melanoma.scoring.bundle.bundle import Bundle
from melanoma.scoring.bundle.golden import draw_golden
from melanoma.scoring.export.export_options import TOLERANCE
from melanoma.scoring.scorer import Scorer
from melanoma.types import Floats

INPUT = "squares"
OUTPUTS = ("probabilities", "by_member")
_LEAST = 1e-37  # of a probability whose logarithm is taken, in float32
_CHECKED = 4  # squares that an export is compared on


class ProbabilityGraph(nn.Module):
    """(B, S, S, 3) uint8 RGB to probabilities (B, C) and by_member (B, K, C), float32."""

    def __init__(self, bundle: Bundle, members: TorchMembers, views: int) -> None:
        super().__init__()
        self.networks = nn.ModuleList(members.networks.values())
        self._normalize, self._views, self._outputs = members.normalize, views, bundle.outputs
        slope, intercept = bundle.calibration.slope, np.asarray(bundle.calibration.intercept)
        self._slope, self._multiclass = slope, bool(intercept.ndim)
        self._move, inside = bundle.move, np.isin(bundle.classes, bundle.melanoma)
        self._inside = torch.from_numpy(inside)
        shifts = {member.fold: np.asarray(member.prior_shift) for member in bundle.members}
        # slope * (logit - shift) + intercept: what of it does not depend on the logit.
        self._constants = [
            torch.tensor(intercept - slope * shifts[fold], dtype=torch.float32)
            for fold in members.folds
        ]

    def forward(self, squares: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        images = to_tensor(squares, normalize=self._normalize)
        seen = torch.cat(dihedral_views(images, self._views))
        member_probabilities = [
            self._probabilities(network(seen).float(), constant)
            for network, constant in zip(self.networks, self._constants, strict=True)
        ]
        by_member = torch.stack(member_probabilities, dim=1)
        return self._served(by_member.mean(dim=1)), self._served(by_member)

    def _served(self, by_class: Tensor) -> Tensor:
        """Bundle.served of (..., C)."""
        if self._move is None:
            return by_class
        ours, rest = (
            (by_class * part).sum(dim=-1, keepdim=True).clamp(min=_LEAST)
            for part in (self._inside, ~self._inside)
        )
        odds = self._move.slope * (ours.log() - rest.log()) + self._move.intercept
        return by_class * torch.where(self._inside, odds.sigmoid() / ours, (-odds).sigmoid() / rest)

    def _probabilities(self, logits: Tensor, constant: Tensor) -> Tensor:
        """(B, C) of one member's (views * B, outputs)."""
        mean = logits.reshape(self._views, -1, self._outputs).mean(dim=0)
        calibrated = self._slope * mean + constant
        if self._multiclass:
            return calibrated.softmax(dim=-1)
        melanoma = calibrated.sigmoid()
        return torch.cat([1 - melanoma, melanoma], dim=-1)


def make_graph(bundle: Bundle, views: int) -> ProbabilityGraph:
    """The graph of a bundle on the CPU, in evaluation mode. Raises WeightsError."""
    members = load_members(bundle, torch.device("cpu"))
    return ProbabilityGraph(bundle, members, views).eval()


def check_squares(size: int) -> Pixels:
    """(4, S, S, 3) uint8 RGB to compare an export on: the golden image's middle, and noise."""
    golden = draw_golden(size)[size // 2 :][:size, size // 2 :][:, :size]
    shape = (_CHECKED - 1, size, size, 3)
    noise = np.random.default_rng(0).integers(0, 256, size=shape, dtype=np.uint8)
    return np.concatenate([golden[None], noise])


def require_equal(
    probabilities: Floats, bundle: Bundle, squares: Pixels, *, views: int, what: str
) -> float:
    """The largest difference of what `what` says, (B, K, C), from what the bundle says.

    Raises MelanomaError where it is more than a probability may differ: the export is wrong.
    """
    expected = bundle.served(Scorer(bundle, views=views).member_probabilities(squares))
    largest = float(np.abs(probabilities - expected).max())
    if not largest <= TOLERANCE:
        raise MelanomaError(
            f"{what} differs from the bundle by {largest:.1g} of a probability (at most "
            f"{TOLERANCE:g}); nothing was written"
        )
    return largest
