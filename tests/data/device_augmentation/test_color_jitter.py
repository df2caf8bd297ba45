"""Color jitter of a batch: each change is torchvision's, in the order that each image draws."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms import functional as tv

from melanoma.data.device_augmentation.color_jitter import apply_jitter, draw_jitter

NEUTRAL = (1.0, 1.0, 1.0, 0.0)
CHANGES = (
    tv.adjust_brightness,
    tv.adjust_contrast,
    tv.adjust_saturation,
    tv.adjust_hue,
)


def pictures(count: int = 3) -> Tensor:
    """Smooth colors, as a photograph has them."""
    down, across = torch.meshgrid(torch.arange(24.0), torch.arange(24.0), indexing="ij")
    waves = [torch.sin(across / (3 + n) + c) + torch.cos(down / (4 + c)) for n in range(count)
             for c in range(3)]  # fmt: skip
    return (128 + 50 * torch.stack(waves)).view(count, 3, 24, 24).to(torch.uint8)


def jittered(images: Tensor, *factors: float, order: tuple[int, ...] = (0, 1, 2, 3)) -> Tensor:
    count = len(images)
    return apply_jitter(
        images, torch.tensor([factors] * count), torch.tensor([order] * count, dtype=torch.int64)
    )


def test_neutral_factors_change_nothing_in_any_order() -> None:
    images = pictures()
    for order in itertools.permutations(range(4)):
        assert torch.equal(jittered(images, *NEUTRAL, order=order), images)


@pytest.mark.parametrize("number", range(4), ids=lambda number: CHANGES[number].__name__)
@pytest.mark.parametrize("share", [-0.4, -0.1, 0.2, 0.45])
def test_each_factor_is_its_own_change(number: int, share: float) -> None:
    images = pictures()
    factors = list(NEUTRAL)
    factors[number] += share
    found = jittered(images, *factors)
    expected = CHANGES[number](images, factors[number])
    apart = (found.int() - expected.int()).abs()
    assert (images.int() - expected.int()).abs().float().mean() > 2  # it is a change
    # OpenCV counts hue in 180 steps.
    assert apart.max() <= (8 if number == 3 else 2)
    assert apart.float().mean() < (2.5 if number == 3 else 1)


def test_the_order_decides_and_is_each_image_s_own() -> None:
    images = pictures(1).expand(2, -1, -1, -1)
    factors = torch.tensor([[1.8, 0.4, 1.0, 0.0]] * 2)
    orders = torch.tensor([[0, 1, 2, 3], [1, 0, 2, 3]])
    found = apply_jitter(images, factors, orders)
    for number in range(2):
        changed = images[:1]
        for turn in orders[number].tolist():
            changed = CHANGES[turn](changed, float(factors[number, turn]))
        assert (found[number].int() - changed[0].int()).abs().max() <= 2
    assert (found[0].int() - found[1].int()).abs().float().mean() > 2


def test_the_images_given_stay_as_they_were_and_none_looks_at_another() -> None:
    images = pictures()
    before = images.clone()
    factors = torch.tensor([[1.2, 0.7, 1.5, 0.1], [0.8, 1.3, 0.5, -0.2], [1.0, 1.6, 1.0, 0.3]])
    order = torch.tensor([[3, 1, 0, 2], [0, 1, 2, 3], [2, 3, 1, 0]])
    together = apply_jitter(images, factors, order)
    assert torch.equal(images, before)
    for n in range(3):
        alone = apply_jitter(images[n : n + 1], factors[n : n + 1], order[n : n + 1])
        assert torch.equal(alone[0], together[n])


def test_factors_are_drawn_under_their_own_names() -> None:
    drawn = {"hue": 0.4, "contrast": 1.2, "brightness": 1.1, "saturation": 1.3, "order": [2, 0]}
    found = draw_jitter(SimpleNamespace(get_params=lambda: drawn), 32)
    assert found["factors"].tolist() == np.array([1.1, 1.2, 1.3, 0.4], np.float32).tolist()
    assert found["order"].tolist() == [2, 0]
