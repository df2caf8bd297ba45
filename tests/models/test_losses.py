"""Losses against torch's own and against numbers worked out by hand."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from melanoma.errors import FoldError, MelanomaError, RecipeError
from melanoma.models.losses import (
    LOSSES,
    BinaryLoss,
    binary_cross_entropy,
    binary_focal,
    positive_weight,
)


@pytest.fixture(params=list(LOSSES))
def loss(request: pytest.FixtureRequest) -> BinaryLoss:
    return LOSSES[request.param]


def _batch(images: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(images, 1, generator=generator)
    return logits, (torch.rand(images, generator=generator) < 0.3).float()


@pytest.mark.parametrize("weight", [1.0, 56.7])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_torch_s(weight: float, smoothing: float) -> None:
    logits, targets = _batch()
    soft = torch.where(targets > 0, 1 - smoothing / 2, smoothing / 2)
    theirs = binary_cross_entropy_with_logits(logits[:, 0], soft, pos_weight=torch.tensor(weight))
    ours = binary_cross_entropy(logits, targets, positive_weight=weight, label_smoothing=smoothing)
    assert torch.allclose(ours, theirs)


@pytest.mark.parametrize("weight", [1.0, 56.7])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_focal_without_focus_is_cross_entropy(weight: float, smoothing: float) -> None:
    logits, targets = _batch()
    same = {"positive_weight": weight, "label_smoothing": smoothing}
    focal = binary_focal(logits, targets, gamma=0.0, **same)
    assert torch.allclose(focal, binary_cross_entropy(logits, targets, **same))


def test_a_worked_example() -> None:
    # Probabilities .8 for a melanoma and .4 for a benign lesion; melanomas count three times.
    logits = torch.tensor([[math.log(4.0)], [math.log(2 / 3)]])
    targets = torch.tensor([1.0, 0.0])
    plain = (3 * -math.log(0.8) - math.log(0.6)) / 2
    focal = (3 * 0.2**2 * -math.log(0.8) + 0.4**2 * -math.log(0.6)) / 2
    same = {"positive_weight": 3.0, "label_smoothing": 0.0}
    assert binary_cross_entropy(logits, targets, **same).item() == pytest.approx(plain)
    assert binary_focal(logits, targets, **same).item() == pytest.approx(focal)


def test_focal_loss_turns_from_the_easy_to_the_hard() -> None:
    targets = torch.ones(1)
    same = {"positive_weight": 1.0, "label_smoothing": 0.0}
    for logit, most in ((4.0, 0.001), (-4.0, 1.0)):
        logits = torch.tensor([[logit]])
        share = binary_focal(logits, targets, **same) / binary_cross_entropy(
            logits, targets, **same
        )
        assert most * 0.3 < share <= most


def test_a_weighted_loss_moves_the_best_logit_by_the_weight_s_logarithm() -> None:
    # 1 melanoma in 5: the best constant is ln(1/4) alone, and ln(1/4) + ln 4 = 0 under weight 4.
    targets = torch.tensor([1.0, 0.0, 0.0, 0.0, 0.0])
    logits = torch.zeros(5, 1, requires_grad=True)
    binary_cross_entropy(logits, targets, positive_weight=4.0, label_smoothing=0.0).backward()
    assert logits.grad is not None
    assert logits.grad.sum().item() == pytest.approx(0.0, abs=1e-7)


@pytest.mark.parametrize("logit", [-200.0, 200.0])
def test_extreme_logits_give_finite_losses_and_gradients(loss: BinaryLoss, logit: float) -> None:
    logits = torch.full((2, 1), logit, requires_grad=True)
    value = loss(logits, torch.tensor([0.0, 1.0]), positive_weight=57.0, label_smoothing=0.1)
    value.backward()
    assert logits.grad is not None
    assert value.isfinite()
    assert logits.grad.isfinite().all()


def test_half_focus_has_a_finite_gradient_where_the_answer_is_certain() -> None:
    logits = torch.full((1, 1), 300.0, requires_grad=True)
    binary_focal(
        logits, torch.ones(1), positive_weight=1.0, label_smoothing=0.0, gamma=0.5
    ).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_half_precision_logits_are_summed_in_float32(
    loss: BinaryLoss, precision: torch.dtype
) -> None:
    logits, targets = _batch()
    rounded = logits.to(precision)
    fixed = partial(loss, positive_weight=57.0, label_smoothing=0.0)
    value = fixed(rounded, targets.long())
    assert value.dtype == torch.float32
    assert torch.equal(value, fixed(rounded.float(), targets))


def test_the_loss_is_a_mean_so_a_doubled_batch_changes_nothing(loss: BinaryLoss) -> None:
    logits, targets = _batch()
    fixed = partial(loss, positive_weight=3.0, label_smoothing=0.05)
    twice = fixed(logits.repeat(2, 1), targets.repeat(2))
    assert torch.allclose(twice, fixed(logits, targets))


@pytest.mark.parametrize(
    ("logits", "targets"),
    [((4,), (4,)), ((4, 2), (4,)), ((4, 1), (4, 1)), ((4, 1), (3,)), ((0, 1), (0,))],
)
def test_shapes_that_would_broadcast_are_refused(
    loss: BinaryLoss, logits: tuple[int, ...], targets: tuple[int, ...]
) -> None:
    with pytest.raises(MelanomaError, match="do not fit"):
        loss(torch.zeros(logits), torch.zeros(targets), positive_weight=1.0, label_smoothing=0.0)


@pytest.mark.parametrize(
    ("rule", "cap", "weight"),
    [
        ("ratio", None, 56.5),
        ("ratio", 20.0, 20.0),
        ("ratio", 100.0, 56.5),
        ("none", None, 1.0),
        ("none", 20.0, 1.0),
        (7.5, None, 7.5),
        (30, 20.0, 30.0),
    ],
)
def test_the_weight_of_positives_follows_its_rule(rule: Any, cap: Any, weight: float) -> None:
    assert positive_weight(11_300, 200, rule=rule, cap=cap) == weight


@pytest.mark.parametrize(("negatives", "positives"), [(10, 0), (0, 10)])
def test_a_ratio_without_both_classes_is_refused(negatives: int, positives: int) -> None:
    with pytest.raises(FoldError, match="needs both"):
        positive_weight(negatives, positives, rule="ratio", cap=None)
    assert positive_weight(negatives, positives, rule="none", cap=None) == 1.0


@pytest.mark.parametrize("rule", ["ratios", 0.0, -2.0, math.nan, math.inf])
def test_a_rule_that_is_no_positive_number_is_refused(rule: Any) -> None:
    with pytest.raises(RecipeError, match=r"loss\.positive_weight"):
        positive_weight(10, 5, rule=rule, cap=None)


@pytest.mark.parametrize("cap", [0.0, -1.0, math.nan])
def test_a_cap_that_is_no_positive_number_is_refused(cap: float) -> None:
    with pytest.raises(RecipeError, match=r"loss\.cap"):
        positive_weight(10, 5, rule="ratio", cap=cap)
