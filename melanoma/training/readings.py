"""Readings: losses and gradient norms of steps, read late enough that no GPU waits for the host."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


@dataclass(frozen=True)
class Reading:
    """One optimizer step on its way to the host.

    `numbers` are the loss of each of its batches, then the norm of its gradient; `sizes` the images
    of each batch, `rows` those of the last one. `on_device` are the same, where they came about.
    """

    numbers: Tensor
    on_device: Tensor
    sizes: tuple[int, ...]
    rows: npt.NDArray[np.int64]
    copied: torch.cuda.Event | None = None

    def values(self) -> list[float]:
        """The numbers, once the device has come to them."""
        if self.copied is not None:
            self.copied.synchronize()
        values: list[float] = self.numbers.tolist()
        return values


def start_reading(
    losses: Sequence[Tensor], norm: Tensor, sizes: Sequence[int], rows: npt.NDArray[np.int64]
) -> Reading:
    """The step's numbers, sent to the host without waiting for them."""
    numbers = torch.stack([*(loss.detach().float() for loss in losses), norm.float()])
    if numbers.device.type != "cuda":
        return Reading(numbers, numbers, tuple(sizes), rows)
    # Only into pinned memory is a copy asynchronous; the event says when it has arrived.
    host = torch.empty(numbers.shape, dtype=numbers.dtype, pin_memory=True)
    host.copy_(numbers, non_blocking=True)
    copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
    copied.record()
    return Reading(host, numbers, tuple(sizes), rows, copied)
