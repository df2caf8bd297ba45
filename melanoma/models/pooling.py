"""GeM: generalized-mean pooling, between the mean of a feature and its largest value."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_LEAST = 1e-6  # of a feature that is raised to a power


class GeM(nn.Module):
    """(B, D, h, w) to (B, D): the p-th root of the mean p-th power, with a p that is learned.

    At 1 it is the mean over space, far above it the largest value. Features below 0 count as 0.
    Radenovic, Tolias and Chum, Fine-tuning CNN image retrieval, PAMI 2019. In float32 always.
    """

    def __init__(self, p: float = 3.0) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.tensor([p]))

    def forward(self, features: Tensor) -> Tensor:
        """(B, D) float32."""
        with torch.autocast(features.device.type, enabled=False):
            power = self.p.float().clamp(min=1.0)
            powered = features.float().clamp(min=_LEAST) ** power
            pooled: Tensor = powered.mean(dim=(2, 3)) ** (1 / power)
        return pooled
