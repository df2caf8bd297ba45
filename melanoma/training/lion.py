"""Lion: the sign of an interpolated momentum as the step (Chen et al. 2023, arXiv 2302.06675)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class Lion(torch.optim.Optimizer):
    """w <- w - rate * (sign(b1 * m + (1 - b1) * g) + decay * w), then m <- b2 * m + (1 - b2) * g.

    Every weight moves by the rate itself, so it wants a third to a tenth of Adam's rate, and as
    many times its weight decay. A step is left out where `found_inf` is 1 (see train_epoch).
    """

    def __init__(
        self, groups: Iterable[dict[str, Any]], *, betas: tuple[float, float] = (0.9, 0.99)
    ) -> None:
        super().__init__(groups, {"lr": 1e-4, "betas": betas, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step on the gradients that are there."""
        assert closure is None, "the gradients are there before a step"
        lost: Tensor | None = getattr(self, "found_inf", None)
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._move(weight, group, lost)

    def _move(self, weight: Tensor, group: dict[str, Any], lost: Tensor | None) -> None:
        state, (first, second) = self.state[weight], group["betas"]
        if not state:
            state["momentum"] = torch.zeros_like(weight)
        momentum, gradient = state["momentum"], weight.grad
        assert gradient is not None
        direction = torch.lerp(gradient, momentum, first).sign_()
        moved = weight * (1 - group["lr"] * group["weight_decay"]) - group["lr"] * direction
        followed = torch.lerp(gradient, momentum, second)
        if lost is not None:  # the host does not know yet: the device chooses
            moved = torch.where(lost > 0, weight, moved)
            followed = torch.where(lost > 0, momentum, followed)
        weight.copy_(moved)
        momentum.copy_(followed)
