"""The loss of rows whose target is a class, one of several classes, a teacher's probability, or
none: the negative log-likelihood of what is known."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from melanoma.errors import MelanomaError


class MixedTargets:
    """Mean loss of logits (B, C), or (B, 1) of two classes, against (B, C + 3) targets.

    A row's first C targets are 1 for every class that it may be of, else 0 (all 0: no label); then
    come a teacher's melanoma probability, the weight of that part (0: none), and what is added to
    the melanoma logits for the label's part alone (Menon et al. 2021, arXiv 2007.07314). That is
    -w ln(sum of the possible classes' probabilities), which for one class is the cross-entropy;
    label smoothing is added as there. A set's weight is the mean of its classes' weights by their
    images. The teacher's part is the cross-entropy of the melanoma probability, from which what
    weights and sampler add to the logits (`shift`) is taken out. Without a dynamic shape, so that
    CUDA graphs can record it.
    """

    def __init__(
        self,
        *,
        counts: Sequence[int],
        weights: Sequence[float],
        shift: Sequence[float],
        melanoma: Sequence[int],
        label_smoothing: float,
        device: torch.device,
    ) -> None:
        self.smoothing = label_smoothing
        self.weights = torch.tensor(weights, dtype=torch.float32, device=device)
        self.counts = torch.tensor(counts, dtype=torch.float32, device=device).clamp(min=1)
        self.shift = torch.tensor(shift, dtype=torch.float32, device=device)
        others = [number for number in range(len(counts)) if number not in melanoma]
        self.melanoma = torch.tensor([*melanoma], dtype=torch.int64, device=device)
        self.others = torch.tensor(others, dtype=torch.int64, device=device)
        self.is_melanoma = torch.zeros(len(counts), device=device)
        self.is_melanoma[self.melanoma] = 1.0

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The mean loss. Raises MelanomaError for logits and targets that do not fit."""
        classes = len(self.weights)
        x = logits.float()
        if x.ndim == 2 and x.shape[1] == 1 and classes == 2:
            x = torch.cat([torch.zeros_like(x), x], dim=1)
        if x.shape != (len(targets), classes) or targets.shape[1:] != (classes + 3,):
            raise MelanomaError(
                f"logits {tuple(logits.shape)} do not fit targets {tuple(targets.shape)}: "
                f"(B, {classes}) and (B, {classes + 3}) were expected"
            )
        possible, soft, weight = targets[:, :classes], targets[:, -3], targets[:, -2]
        value = self._labels(x + targets[:, -1:] * self.is_melanoma, possible)
        if len(self.melanoma):
            value = value + weight * self._teacher(x, soft)
        return value.mean()

    def _labels(self, x: Tensor, possible: Tensor) -> Tensor:
        known = possible.sum(dim=1) > 0
        # A row without a label: all classes, whose probabilities add up to 1 at no slope.
        allowed = torch.where(known[:, None], possible, torch.ones_like(possible))
        logs = x.log_softmax(dim=1)
        own = logs.masked_fill(allowed == 0, -math.inf).logsumexp(dim=1)
        weight = (allowed @ (self.counts * self.weights)) / (allowed @ self.counts)
        spread = (logs * self.weights).sum(dim=1) * (self.smoothing / len(self.weights))
        return torch.where(known, -(1 - self.smoothing) * weight * own - spread, 0.0)

    def _teacher(self, x: Tensor, soft: Tensor) -> Tensor:
        plain = x - self.shift
        odds = plain[:, self.melanoma].logsumexp(1) - plain[:, self.others].logsumexp(1)
        return F.binary_cross_entropy_with_logits(odds, soft, reduction="none")
