"""SAM: gradients where the loss is highest nearby (Foret et al., ICLR 2021, arXiv 2010.01412)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def ascend(
    network: nn.Module, parameters: Sequence[Tensor], rho: float, again: Callable[[], None]
) -> None:
    """Replace the parameters' gradients by those at w + rho * g / |g|; the weights stay.

    `again` runs the same images forward and backward. BatchNorm's running statistics are of the
    first pass alone. Gradients that are not finite stay so, and their step is left out as ever.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    moved = [p for p in parameters if p.grad is not None]
    norm = torch.linalg.vector_norm(torch.stack([g.float().norm() for g in gradients]))
    before = [p.detach().clone() for p in moved]
    with torch.no_grad():
        for parameter, gradient in zip(moved, gradients, strict=True):
            parameter.add_(gradient * (rho / (norm + 1e-12)))
    for parameter in parameters:
        parameter.grad = None
    try:
        with _unchanged_statistics(network):
            again()
    finally:
        with torch.no_grad():
            # Copied, for adding and taking away again would round.
            for parameter, original in zip(moved, before, strict=True):
                parameter.copy_(original)


@contextmanager
def _unchanged_statistics(network: nn.Module) -> Iterator[None]:
    buffers = list(network.buffers())
    statistics = [buffer.clone() for buffer in buffers]
    try:
        yield
    finally:
        for buffer, before in zip(buffers, statistics, strict=True):
            buffer.copy_(before)
