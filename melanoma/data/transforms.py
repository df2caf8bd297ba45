"""From squares to tensors: scaling and dihedral views. Augmentations: data/augmentation.py."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
import torch

from melanoma.data.symmetries import SYMMETRIES
from melanoma.recipe.sections import Scaling

Normalize = str | Scaling  # a name in NORMALIZATIONS, or own values

NORMALIZATIONS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}


def to_tensor(
    pixels: npt.NDArray[np.uint8] | torch.Tensor,
    *,
    normalize: Normalize,
    device: torch.device | str = "cpu",
) -> torch.Tensor:
    """(B, S, S, 3) uint8 RGB as normalised float32 (B, 3, S, S), channels last in memory."""
    batch = send(torch.as_tensor(pixels), torch.device(device)).permute(0, 3, 1, 2).float()
    shift, scale = _scaling(normalize, torch.device(device))
    return (batch - shift) / scale


def linear_scaling(normalize: Normalize) -> tuple[torch.Tensor, torch.Tensor]:
    """What to_tensor does to a pixel, as a factor and what is added then: (1, 3, 1, 1) each."""
    shift, scale = (values.double() for values in _scaling(normalize, torch.device("cpu")))
    return (1 / scale).float(), (-shift / scale).float()


def send(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The values on the device; a GPU gets them from pinned memory, so that nobody waits."""
    if device.type == "cuda" and values.device.type == "cpu":
        values = values.pin_memory()  # the same tensor where it is pinned already
    return values.to(device, non_blocking=True)


@functools.cache  # two copies to the device a batch, each waited for, would stop a GPU
def _scaling(normalize: Normalize, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    own = (normalize.mean, normalize.std) if isinstance(normalize, Scaling) else None
    with torch.inference_mode(False):  # what is made in it could not be trained through later
        mean, std = (
            torch.tensor(values, device=device).view(1, 3, 1, 1) * 255
            for values in own or NORMALIZATIONS[str(normalize)]
        )
    return mean, std


def dihedral_views(images: torch.Tensor, views: int) -> list[torch.Tensor]:
    """The first `views` of SYMMETRIES of (B, C, S, S), each of that shape."""
    laid = []
    for symmetry in SYMMETRIES[:views]:
        axes = symmetry.flipped(rows=2, columns=3)
        flipped = images.flip(axes) if axes else images
        laid.append(flipped.transpose(2, 3) if symmetry.transposed else flipped)
    return laid
