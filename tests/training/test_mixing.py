"""Mixup and cutmix: the same whatever came before, and the loss by what is seen of each image."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from melanoma.data.batches import Batch
from melanoma.recipe.training_options import Mix
from melanoma.training.mixing import MixedLoss, mix_batches

PIXELS = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 6, 8, 8, 3), np.uint8))
TARGETS = np.arange(18) % 2


def batches(start: int = 0) -> list[Batch]:
    every = [
        Batch(PIXELS[n], np.arange(6 * n, 6 * n + 6), share=1.0, closes=True) for n in range(3)
    ]
    return every[start:]


def mixed(start: int = 0, **rules: float) -> list[Batch]:
    made = mix_batches(batches(start), TARGETS, Mix(**rules), seed=(1, 0, 2), start=start)
    return list(made)


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_a_resumed_epoch_mixes_as_it_would_have(kind: str) -> None:
    whole, rest = mixed(**{kind: 1.0}), mixed(2, **{kind: 1.0})
    assert torch.equal(whole[2].pixels, rest[0].pixels)
    assert torch.equal(whole[2].wanted, rest[0].wanted)  # type: ignore[arg-type]
    assert len({batch.wanted[0, -1].item() for batch in whole}) == 3  # type: ignore[index]


def test_a_share_of_the_batches_stays_as_it_is() -> None:
    for batch, before in zip(mixed(mixup=1.0, p=0.0), batches(), strict=True):
        assert torch.equal(batch.pixels, before.pixels)
        assert batch.wanted is not None
        assert batch.wanted[:, -1].tolist() == [1.0] * 6


def test_mixup_averages_pixels_and_cutmix_pastes_them_by_the_share_it_states() -> None:
    for batch, before in zip(mixed(mixup=1.0), batches(), strict=True):
        share = batch.wanted[0, -1].item()  # type: ignore[index]
        means = [
            share * before.pixels.float() + (1 - share) * before.pixels[list(order)].float()
            for order in itertools.permutations(range(6))
        ]
        assert any((mean - batch.pixels.float()).abs().max() <= 0.51 for mean in means)
    for batch, before in zip(mixed(cutmix=1.0), batches(), strict=True):
        same = (batch.pixels == before.pixels).all(dim=-1).float().mean(dim=(1, 2))
        moved = same.min()  # an image that was pasted into by itself shows nothing
        assert moved == pytest.approx(batch.wanted[0, -1].item(), abs=0.02)  # type: ignore[index]


def test_a_pasted_box_is_of_its_share_but_for_what_the_border_cuts() -> None:
    """Of a square of 1 a side s, with its middle anywhere in it, on average s - s^2 / 4 is left."""
    pixels = torch.zeros((1, 2, 64, 64, 3), dtype=torch.uint8)
    one = [Batch(pixels[0], np.arange(2), share=1.0, closes=True)]
    pasted = []
    for seed in range(300):
        (batch,) = mix_batches(one, TARGETS, Mix(cutmix=500.0), seed=(seed, 0, 0), start=0)
        assert batch.wanted is not None
        pasted.append(1 - batch.wanted[0, -1].item())
    side = np.sqrt(0.5)  # Beta(500, 500) is a half, almost always
    assert np.mean(pasted) == pytest.approx((side - side**2 / 4) ** 2, abs=0.03)
    assert max(pasted) <= 0.55


def test_the_loss_is_that_of_both_images_by_their_shares() -> None:
    def loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return F.binary_cross_entropy_with_logits(logits[:, 0], target)

    logits, (batch, *_) = torch.randn(6, 1), mixed(mixup=1.0)
    wanted: Any = batch.wanted
    own, other, share = wanted[:, 0], wanted[:, 1], wanted[0, 2]
    assert own.tolist() == TARGETS[:6].tolist()
    by_hand = share * loss(logits, own) + (1 - share) * loss(logits, other)
    assert MixedLoss(loss)(logits, wanted) == pytest.approx(by_hand.item())
