"""Mixup and cutmix: batches whose images, and losses, are mixed with those of the same batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from melanoma.data.batches import Batch
from melanoma.recipe.training_options import Mix
from melanoma.training.function_types import LossFunction


def mix_batches(
    batches: Iterable[Batch],
    targets: npt.NDArray[np.int64 | np.float32],
    rules: Mix,
    *,
    seed: Sequence[int],
    start: int,
) -> Iterator[Batch]:
    """The batches, mixed as the rules say, each with its `wanted`: own targets, those of the images
    mixed in, and the share of the own.

    What happens to the batch at a position is decided by seed and position alone, so that a resumed
    epoch mixes as it would have. `targets` are by row; `start` is the first batch's position.
    """
    for position, batch in enumerate(batches, start=start):
        rng = np.random.default_rng([*seed, position, 1])
        own = torch.as_tensor(targets[batch.rows], dtype=torch.float32).reshape(len(batch.rows), -1)
        other = torch.from_numpy(rng.permutation(len(batch.rows)))
        pixels, share = _mixed(batch.pixels, other, rules, rng)
        shares = torch.full((len(own), 1), share)
        mixed_targets = torch.cat([own, own[other], shares], dim=1)
        yield batch._replace(pixels=pixels, wanted=mixed_targets)


def _mixed(
    pixels: Tensor, other: Tensor, rules: Mix, rng: np.random.Generator
) -> tuple[Tensor, float]:
    """(B, S, S, 3) uint8 with those at `other` mixed in, and the share that is left of the own."""
    if rng.random() >= rules.p:
        return pixels, 1.0
    kinds = [k for k, alpha in (("mixup", rules.mixup), ("cutmix", rules.cutmix)) if alpha > 0]
    kind = kinds[int(rng.integers(len(kinds)))]
    if kind == "mixup":
        share = float(rng.beta(rules.mixup, rules.mixup))
        mean = pixels.float() * share + pixels[other].float() * (1 - share)
        return mean.round_().to(torch.uint8), share
    share = float(rng.beta(rules.cutmix, rules.cutmix))
    top, bottom, left, right = _box(pixels.shape[1], pixels.shape[2], share, rng)
    pasted = pixels.clone()
    pasted[:, top:bottom, left:right] = pixels[other, top:bottom, left:right]
    # Cut at the border, the box is smaller than it was drawn: what counts is what was pasted.
    return pasted, 1 - (bottom - top) * (right - left) / (pixels.shape[1] * pixels.shape[2])


def _box(
    height: int, width: int, share: float, rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """A box of 1 - share of the square, anywhere, cut at the border: top, bottom, left, right."""
    side = np.sqrt(1 - share)
    y, x = rng.integers(height), rng.integers(width)
    half_y, half_x = round(height * side / 2), round(width * side / 2)
    return (
        max(0, int(y) - half_y),
        min(height, int(y) + half_y),
        max(0, int(x) - half_x),
        min(width, int(x) + half_x),
    )


class MixedLoss:
    """A loss of batches that mix_batches gave: each image's own target and the other's, by their
    shares. (Zhang et al., mixup, ICLR 2018; Yun et al., CutMix, ICCV 2019.)"""

    def __init__(self, loss: LossFunction) -> None:
        self.loss = loss

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """`targets` are (B, 2 T + 1)."""
        width = (targets.shape[1] - 1) // 2
        own, other = targets[:, :width], targets[:, width:-1]
        if width == 1:  # class numbers
            own, other = own[:, 0], other[:, 0]
        share = targets[0, -1]
        return share * self.loss(logits, own) + (1 - share) * self.loss(logits, other)
