"""DrawnSteps: what a batch's augmentation is to do, drawn on the CPU, and how a device does it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from melanoma.data.device_augmentation.step_values import Values
from melanoma.data.device_augmentation.twins import TWINS
from melanoma.data.transforms import send
from melanoma.types import Integers


@dataclass(frozen=True)
class DrawnStep:
    """A step of some images: their places in the batch, and each one's values."""

    name: str
    places: Integers
    arrays: Mapping[str, npt.NDArray[Any]]
    numbers: Mapping[str, int]


@dataclass(frozen=True)
class DrawnSteps:
    """The steps of a batch in their order. No tensors: a worker sends it as it is."""

    steps: tuple[DrawnStep, ...]

    def apply(self, pixels: Tensor) -> Tensor:
        """(B, S, S, 3) uint8 augmented, on the device of the pixels, which stay as they are.

        What becomes of an image does not depend on those beside it.
        """
        images = pixels.permute(0, 3, 1, 2).contiguous()
        for step in self.steps:
            places = send(torch.from_numpy(step.places), pixels.device)
            images[places] = _apply(step, images[places])
        return images.permute(0, 2, 3, 1).contiguous()


def _apply(step: DrawnStep, images: Tensor) -> Tensor:
    twin = TWINS[step.name]
    arrays = {name: torch.from_numpy(array) for name, array in step.arrays.items()}
    values = {
        name: array if name in twin.on_host else send(array, images.device)
        for name, array in arrays.items()
    }
    return twin.apply(images, **values, **step.numbers)


def gather_steps(by_image: Sequence[Sequence[tuple[int, str, Values]]]) -> DrawnSteps:
    """The steps that each image drew, with their places in the recipe's list, by step.

    Steps of one place are of different images, so their order among each other decides nothing.
    """
    groups: dict[tuple[Any, ...], tuple[list[int], list[Values]]] = {}
    for image, drawn in enumerate(by_image):
        for place, name, values in drawn:
            kind = tuple(v if isinstance(v, int) else np.shape(v) for v in values.values())
            images, drawn_values = groups.setdefault((place, name, kind), ([], []))
            images.append(image)
            drawn_values.append(values)
    ordered = sorted(groups.items(), key=lambda group: group[0][0])
    return DrawnSteps(tuple(_joined(key[1], *group) for key, group in ordered))


def _joined(name: str, images: list[int], values: list[Values]) -> DrawnStep:
    first = values[0]
    numbers = {key: value for key, value in first.items() if isinstance(value, int)}
    arrays = {
        key: np.stack([np.asarray(one[key]) for one in values])
        for key in first
        if key not in numbers
    }
    return DrawnStep(name, np.array(images, np.int64), arrays, numbers)
