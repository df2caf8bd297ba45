"""What every loss does first: shapes that fit, float32, smoothed targets."""

from __future__ import annotations

from torch import Tensor

from melanoma.errors import MelanomaError


def binary_inputs(logits: Tensor, targets: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
    """Logits and smoothed targets, (B,) float32 both.

    Raises MelanomaError when logits are not (B, 1) for B > 0 targets.
    """
    # Without this, (B, 1) against (B,) broadcasts to (B, B) and trains on noise.
    if targets.ndim != 1 or not len(targets) or logits.shape != (len(targets), 1):
        raise MelanomaError(
            f"logits {tuple(logits.shape)} do not fit targets {tuple(targets.shape)}: "
            "(B, 1) and (B,) with B > 0 were expected"
        )
    return logits[:, 0].float(), targets.float() * (1 - smoothing) + smoothing / 2


def class_inputs(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (B, C) float32 and class numbers (B,).

    Raises MelanomaError when logits are not (B, C), C > 1, for B > 0 targets.
    """
    fits = logits.ndim == 2 and targets.ndim == 1 and len(logits) == len(targets) > 0
    if not fits or logits.shape[1] < 2:
        raise MelanomaError(
            f"logits {tuple(logits.shape)} do not fit targets {tuple(targets.shape)}: "
            "(B, C) with C > 1 and (B,) with B > 0 were expected"
        )
    return logits.float(), targets.long()
