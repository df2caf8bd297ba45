"""The losses for rare classes: what each promises, by numbers worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from melanoma.models.imbalance_losses import (
    binary_asymmetric,
    binary_margin,
    binary_poly,
    class_margin,
    poly,
)
from melanoma.models.losses import (
    binary_cross_entropy,
    binary_focal,
    class_weights,
    cross_entropy,
    effective_number,
    positive_weight,
)

PLAIN: dict[str, Any] = {"positive_weight": 1.0, "label_smoothing": 0.0}
CLASSES: dict[str, Any] = {"class_weights": None, "label_smoothing": 0.0}


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(64, 1, generator=generator)
    return logits, (torch.rand(64, generator=generator) < 0.3).float()


@pytest.mark.parametrize("weight", [1.0, 57.0])
def test_asymmetric_without_margin_and_of_one_gamma_is_focal(weight: float) -> None:
    same = {"positive_weight": weight, "label_smoothing": 0.1}
    for gamma in (0.0, 0.5, 2.0):
        ours = binary_asymmetric(
            *batch(), gamma_positive=gamma, gamma_negative=gamma, margin=0.0, **same
        )
        assert torch.allclose(ours, binary_focal(*batch(), gamma=gamma, **same), rtol=1e-5)


def test_asymmetric_drops_easy_negatives_and_keeps_easy_positives() -> None:
    # p = .04 and q = max(.04 - .05, 0) = 0 for a negative; p = .3 and q = .25 for another.
    x = torch.tensor([[math.log(0.04 / 0.96)], [math.log(0.3 / 0.7)]], requires_grad=True)
    easy = binary_asymmetric(x[:1], torch.zeros(1), **PLAIN)
    assert easy.item() == 0.0
    easy.backward()
    assert x.grad is not None and x.grad.abs().sum() == 0
    hard = binary_asymmetric(x[1:], torch.zeros(1), **PLAIN)
    assert hard.item() == pytest.approx(0.25**4 * -math.log(0.75), rel=1e-5)
    positive = binary_asymmetric(x[:1], torch.ones(1), **PLAIN)
    assert positive.item() == pytest.approx(-math.log(0.04), rel=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 4.0])
@pytest.mark.parametrize("margin", [0.0, 0.05])
def test_asymmetric_gradients_are_finite_wherever_the_answer_is(gamma: float, margin: float):
    x = torch.tensor([[-300.0], [-3.0], [math.log(0.05 / 0.95)], [3.0], [300.0]])
    for target in (0.0, 1.0):
        logits = x.clone().requires_grad_()
        value = binary_asymmetric(
            logits, torch.full((5,), target), gamma_negative=gamma, margin=margin, **PLAIN
        )
        value.backward()
        assert logits.grad is not None
        assert value.isfinite() and logits.grad.isfinite().all()


def test_poly_is_cross_entropy_and_epsilon_times_what_is_missing() -> None:
    logits = torch.tensor([[math.log(4.0)], [math.log(2 / 3)]])  # p = .8 and, of the other, .6
    targets = torch.tensor([1.0, 0.0])
    plain = binary_cross_entropy(logits, targets, **PLAIN).item()
    found = binary_poly(logits, targets, epsilon=2.0, **PLAIN).item()
    assert found == pytest.approx(plain + 2 * (0.2 + 0.4) / 2)
    both = torch.cat([torch.zeros_like(logits), logits], dim=1)
    assert poly(both, targets, epsilon=2.0, **CLASSES).item() == pytest.approx(found)
    assert binary_poly(logits, targets, epsilon=0.0, **PLAIN).item() == pytest.approx(plain)


def test_a_margin_is_the_rarest_class_s_largest_and_falls_by_the_fourth_root() -> None:
    logits = torch.tensor([[1.0, 0.5, -0.2]]).repeat(3, 1)
    targets, counts, margins = torch.arange(3), [1600, 100, 16 * 100], [0.25, 0.5, 0.25]
    found = class_margin(logits, targets, class_counts=counts, **CLASSES)
    moved = logits - torch.diag(torch.tensor(margins))
    assert torch.allclose(found, cross_entropy(moved, targets, **CLASSES))
    without = class_margin(logits, targets, class_counts=counts, margin=0.0, **CLASSES)
    assert torch.allclose(without, cross_entropy(logits, targets, **CLASSES))


def test_the_binary_margin_is_that_of_two_classes() -> None:
    logits, targets = batch()
    both = torch.cat([torch.zeros_like(logits), logits], dim=1)
    counts = [810, 10]
    weights = torch.tensor([1.0, 5.0])
    options = {"label_smoothing": 0.1, "class_counts": counts, "margin": 0.9}
    ours = binary_margin(logits, targets, positive_weight=5.0, **options)
    assert torch.allclose(ours, class_margin(both, targets, class_weights=weights, **options))


def test_the_effective_number_goes_from_one_to_the_count() -> None:
    assert effective_number(100, 0.0) == 1.0
    assert effective_number(1, 0.999) == pytest.approx(1.0)
    assert effective_number(2, 0.9) == pytest.approx(1.9)  # (1 - .81) / .1
    assert effective_number(50, 1 - 1e-12) == pytest.approx(50, rel=1e-3)
    assert effective_number(10**9, 0.99) == pytest.approx(100)


def test_effective_weights_lie_between_none_and_balanced() -> None:
    counts = (6705, 1113, 142)
    weights = class_weights(counts, rule="effective", cap=None, beta=0.999)
    expected = [1 / effective_number(count, 0.999) for count in counts]
    assert weights[2] / weights[0] == pytest.approx(expected[2] / expected[0])
    assert sum(c * w for c, w in zip(counts, weights, strict=True)) == pytest.approx(sum(counts))
    balanced = class_weights(counts, rule="balanced", cap=None)
    assert 1 < weights[2] / weights[0] < balanced[2] / balanced[0]
    ratio = positive_weight(11_300, 200, rule="effective", cap=None, beta=0.999)
    assert (
        1 < ratio == pytest.approx(effective_number(11_300, 0.999) / effective_number(200, 0.999))
    )
    assert positive_weight(11_300, 200, rule="effective", cap=2.0) == 2.0
