"""The loss over classes, sets of classes and teachers: the usual one where a class is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from melanoma.errors import MelanomaError
from melanoma.models.losses import binary_cross_entropy, cross_entropy
from melanoma.models.mixed_targets import MixedTargets

GENERATOR = torch.Generator().manual_seed(4)
LOGITS = torch.randn(6, 3, generator=GENERATOR)


def loss_of(**changes: object) -> MixedTargets:
    options = {
        "counts": [5, 3, 2],
        "weights": (1.0, 1.0, 1.0),
        "shift": (0.0, 0.0, 0.0),
        "melanoma": [1],
        "label_smoothing": 0.0,
        "device": torch.device("cpu"),
    }
    return MixedTargets(**{**options, **changes})  # type: ignore[arg-type]


def rows(
    *possible: list[float], soft: float = 0.0, weight: float = 0.0, shift: float = 0.0
) -> Tensor:
    return torch.tensor([[*row, soft, weight, shift] for row in possible])


def test_known_classes_cost_what_the_recipes_own_loss_says() -> None:
    numbers = torch.tensor([0, 1, 2, 2, 1, 0])
    weights = (0.5, 2.0, 1.5)
    ours = loss_of(weights=weights, label_smoothing=0.1)
    targets = torch.cat([F.one_hot(numbers, 3).float(), torch.zeros(6, 3)], dim=1)
    theirs = cross_entropy(
        LOGITS, numbers, class_weights=torch.tensor(weights), label_smoothing=0.1
    )
    assert ours(LOGITS, targets).item() == pytest.approx(theirs.item(), rel=1e-6)


def test_one_logit_of_two_classes_costs_the_binary_cross_entropy() -> None:
    numbers, logits = torch.tensor([0, 1, 1, 0, 0, 1]), LOGITS[:, :1]
    ours = loss_of(counts=[4, 2], weights=(1.0, 3.0), shift=(0.0, 0.0), label_smoothing=0.2)
    targets = torch.cat([F.one_hot(numbers, 2).float(), torch.zeros(6, 3)], dim=1)
    theirs = binary_cross_entropy(logits, numbers, positive_weight=3.0, label_smoothing=0.2)
    assert ours(logits, targets).item() == pytest.approx(theirs.item(), rel=1e-6)


def test_one_of_several_classes_costs_their_probability_together() -> None:
    found = loss_of()(LOGITS[:1], rows([1.0, 0.0, 1.0]))
    together = LOGITS[0].softmax(0)[[0, 2]].sum()
    assert found.item() == pytest.approx(-together.log().item(), rel=1e-6)


def test_a_set_weighs_what_its_classes_weigh_by_their_images() -> None:
    weighted = loss_of(weights=(1.0, 7.0, 3.0))(LOGITS[:1], rows([1.0, 0.0, 1.0]))
    plain = loss_of()(LOGITS[:1], rows([1.0, 0.0, 1.0]))
    assert (weighted / plain).item() == pytest.approx((5 * 1.0 + 2 * 3.0) / 7)


def test_a_teacher_draws_the_melanoma_probability_to_its_own_and_nothing_else() -> None:
    logits = torch.zeros(1, 3, requires_grad=True)
    odds = torch.logit(torch.tensor(0.9)).item()
    loss = loss_of(shift=(0.0, 0.5, 0.0))
    loss(logits, rows([0.0, 0.0, 0.0], soft=0.9, weight=2.0)).backward()
    assert logits.grad is not None
    assert logits.grad[0, 1] < 0 < logits.grad[0, 0]
    assert logits.grad[0, 0] == pytest.approx(logits.grad[0, 2].item())
    # At the teacher's odds, seen through what the weights add, the slope is gone.
    there = torch.tensor([[0.0, odds + torch.tensor(2.0).log().item() + 0.5, 0.0]])
    there.requires_grad_()
    loss(there, rows([0.0, 0.0, 0.0], soft=0.9, weight=2.0)).backward()
    assert there.grad is not None
    assert there.grad.abs().max() < 1e-6


def test_a_row_without_anything_costs_nothing_and_has_no_slope() -> None:
    logits = LOGITS[:2].clone().requires_grad_()
    found = loss_of(label_smoothing=0.1)(logits, rows([0.0, 0.0, 0.0], [0.0, 0.0, 0.0]))
    found.backward()
    assert found.item() == 0
    assert logits.grad is not None
    assert logits.grad.abs().max() == 0


def test_targets_of_another_width_are_refused() -> None:
    with pytest.raises(MelanomaError, match="do not fit"):
        loss_of()(LOGITS, torch.zeros(6, 5))


def test_a_label_of_another_share_is_judged_at_that_share_and_teaches_the_recipes_own() -> None:
    """Where 30 of 100 are melanomas and the network says the odds of 10, no slope is left."""
    there, here = (torch.logit(torch.tensor(share)) for share in (0.3, 0.1))
    logits = torch.tensor([[0.0, here.item() + torch.tensor(2.0).log().item(), 0.0]])
    logits.requires_grad_()
    loss, shift = loss_of(), (there - here).item()
    melanoma = loss(logits, rows([0.0, 1.0, 0.0], shift=shift))
    other = loss(logits, rows([1.0, 0.0, 1.0], shift=shift))
    (0.3 * melanoma + 0.7 * other).backward()
    assert logits.grad is not None
    assert logits.grad.abs().max() < 1e-6
    assert melanoma.item() == pytest.approx(-torch.tensor(0.3).log().item())
    # The teacher's part is of the network's own odds.
    taught = rows([0.0, 0.0, 0.0], soft=0.1, weight=1.0, shift=shift)
    plain = rows([0.0, 0.0, 0.0], soft=0.1, weight=1.0)
    assert loss(logits, taught).item() == loss(logits, plain).item()
