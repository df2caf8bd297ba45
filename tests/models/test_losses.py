"""Losses against torch's own and against numbers worked out by hand."""

from __future__ import annotations

import inspect
import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.nn.functional import cross_entropy as torch_cross_entropy

from melanoma.errors import FoldError, MelanomaError, RecipeError
from melanoma.models.losses import (
    LOSSES,
    BinaryLoss,
    ClassLoss,
    binary_cross_entropy,
    binary_focal,
    class_weights,
    cross_entropy,
    find_loss,
    focal,
    positive_weight,
)


@pytest.fixture(params=[name for name, entry in LOSSES.items() if entry.fits(1)])
def loss(request: pytest.FixtureRequest) -> BinaryLoss:
    found = LOSSES[request.param].binary
    assert found is not None
    return found


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


# Over several classes.


@pytest.fixture(params=[name for name, entry in LOSSES.items() if entry.fits(2)])
def class_loss(request: pytest.FixtureRequest) -> ClassLoss:
    found = LOSSES[request.param].several
    assert found is not None
    return found


WEIGHTS = torch.tensor([0.3, 2.0, 7.0, 1.0])


def _classes(images: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(images, 4, generator=generator)
    return logits, torch.randint(4, (images,), generator=generator)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_class_cross_entropy_is_torch_s_over_the_images(
    weights: torch.Tensor | None, smoothing: float
) -> None:
    logits, targets = _classes()
    theirs = torch_cross_entropy(
        logits, targets, weight=weights, label_smoothing=smoothing, reduction="none"
    ).mean()
    ours = cross_entropy(logits, targets, class_weights=weights, label_smoothing=smoothing)
    assert torch.allclose(ours, theirs)
    mean = torch_cross_entropy(logits, targets, weight=weights, label_smoothing=smoothing)
    # torch's own mean divides by the weights of this batch; without weights there is no difference.
    share = 1.0 if weights is None else weights[targets].mean()
    assert torch.allclose(ours, mean * share)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_class_focal_without_focus_is_cross_entropy(
    weights: torch.Tensor | None, smoothing: float
) -> None:
    logits, targets = _classes()
    options: dict[str, Any] = {"class_weights": weights, "label_smoothing": smoothing}
    plain = cross_entropy(logits, targets, **options)
    assert torch.allclose(focal(logits, targets, gamma=0.0, **options), plain, rtol=1e-5)


def test_class_focal_of_two_classes_is_the_binary_one() -> None:
    logits, targets = _batch()
    both = torch.cat([torch.zeros_like(logits), logits], dim=1)
    binary = binary_focal(logits, targets, positive_weight=5.0, label_smoothing=0.1)
    weights = torch.tensor([1.0, 5.0])
    ours = focal(both, targets, class_weights=weights, label_smoothing=0.1)
    assert torch.allclose(ours, binary, rtol=1e-5)


def test_a_worked_example_of_three_classes() -> None:
    # Probabilities .7 .2 .1 for a first class that counts twice, .25 .5 .25 for a second one.
    logits = torch.tensor([[0.7, 0.2, 0.1], [0.25, 0.5, 0.25]]).log()
    options: dict[str, Any] = {
        "class_weights": torch.tensor([2.0, 1.0, 9.0]),
        "label_smoothing": 0.0,
    }
    targets = torch.tensor([0, 1])
    plain = (2 * -math.log(0.7) - math.log(0.5)) / 2
    focused = (2 * 0.3**2 * -math.log(0.7) + 0.5**2 * -math.log(0.5)) / 2
    assert cross_entropy(logits, targets, **options).item() == pytest.approx(plain)
    assert focal(logits, targets, **options).item() == pytest.approx(focused)


def test_class_weights_move_the_best_logits_by_their_logarithms() -> None:
    # Of a blind model: the loss is stationary at ln(share * weight), whatever the batches.
    counts, weights = torch.tensor([6, 3, 1]), torch.tensor([0.5, 1.0, 4.0])
    targets = torch.repeat_interleave(torch.arange(3), counts)
    best = (counts / 10 * weights).log().requires_grad_()
    logits = best.expand(10, 3)
    cross_entropy(logits, targets, class_weights=weights, label_smoothing=0.0).backward()
    assert best.grad is not None
    assert best.grad.abs().max().item() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("size", [200.0, 1e4])
def test_extreme_class_logits_give_finite_losses_and_gradients(
    class_loss: ClassLoss, size: float
) -> None:
    logits = torch.tensor([[size, -size, 0.0, 0.0], [size, -size, 0.0, 0.0]], requires_grad=True)
    value = class_loss(logits, torch.tensor([0, 1]), class_weights=WEIGHTS, label_smoothing=0.1)
    value.backward()
    assert logits.grad is not None
    assert value.isfinite()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_half_precision_class_logits_are_summed_in_float32(
    class_loss: ClassLoss, precision: torch.dtype
) -> None:
    logits, targets = _classes()
    fixed = partial(class_loss, class_weights=WEIGHTS, label_smoothing=0.0)
    value = fixed(logits.to(precision), targets.float())
    assert value.dtype == torch.float32
    assert torch.equal(value, fixed(logits.to(precision).float(), targets))


def test_the_class_loss_is_a_mean_over_images_whatever_their_weights(
    class_loss: ClassLoss,
) -> None:
    """So that accumulated batches are the large batch: its parts in their shares."""
    logits, targets = _classes()
    fixed = partial(class_loss, class_weights=WEIGHTS, label_smoothing=0.05)
    parts = 0.25 * fixed(logits[:16], targets[:16]) + 0.75 * fixed(logits[16:], targets[16:])
    assert torch.allclose(parts, fixed(logits, targets))


@pytest.mark.parametrize(
    ("logits", "targets"),
    [((4,), (4,)), ((4, 1), (4,)), ((4, 3), (4, 1)), ((4, 3), (3,)), ((0, 3), (0,))],
)
def test_class_shapes_that_do_not_fit_are_refused(
    class_loss: ClassLoss, logits: tuple[int, ...], targets: tuple[int, ...]
) -> None:
    with pytest.raises(MelanomaError, match="do not fit"):
        class_loss(
            torch.zeros(logits), torch.zeros(targets), class_weights=None, label_smoothing=0.0
        )


COUNTS = (6705, 1113, 142)


@pytest.mark.parametrize("rule", ["balanced", "sqrt"])
def test_class_weights_follow_their_rule_with_mean_1_over_the_images(rule: Any) -> None:
    weights = class_weights(COUNTS, rule=rule, cap=None)
    assert sum(c * w for c, w in zip(COUNTS, weights, strict=True)) == pytest.approx(sum(COUNTS))
    power = {"balanced": 1, "sqrt": 0.5}[rule]
    assert weights[2] / weights[0] == pytest.approx((6705 / 142) ** power)


def test_balanced_class_weights_are_scikit_learn_s() -> None:
    target = np.repeat(np.arange(3), COUNTS)
    theirs = compute_class_weight("balanced", classes=np.arange(3), y=target)
    assert class_weights(COUNTS, rule="balanced", cap=None) == pytest.approx(tuple(theirs))


def test_a_cap_bounds_the_class_weights_and_leaves_the_others() -> None:
    free = class_weights(COUNTS, rule="balanced", cap=None)
    assert free[2] > 5 > free[1]
    assert class_weights(COUNTS, rule="balanced", cap=5.0) == (free[0], free[1], 5.0)
    assert class_weights(COUNTS, rule="none", cap=5.0) == (1.0, 1.0, 1.0)


def test_a_class_without_an_image_has_no_weight() -> None:
    with pytest.raises(FoldError, match="needs some of each"):
        class_weights((5, 0, 3), rule="sqrt", cap=None)
    assert class_weights((5, 0, 3), rule="none", cap=None) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("name", "outputs", "said"),
    [
        (
            "bce",
            7,
            r"loss\.name: 'bce' does not fit 7 outputs; fitting: cross_entropy, focal, poly",
        ),
        ("cross_entropy", 1, r"loss\.name: 'cross_entropy' does not fit 1 output; fitting: bce"),
        ("mse", 1, "unknown 'mse'; known: bce, focal, asymmetric, poly, margin"),
        ("mse", 2, "unknown 'mse'; known: cross_entropy, focal, poly, margin"),
    ],
)
def test_a_loss_that_does_not_fit_is_refused_with_those_that_do(
    name: str, outputs: int, said: str
) -> None:
    with pytest.raises(RecipeError, match=said):
        find_loss(name, {}, outputs=outputs)


def test_a_misspelled_loss_is_suggested() -> None:
    with pytest.raises(RecipeError, match=r"'focl'; did you mean focal\?"):
        find_loss("focl", {}, outputs=1)


def test_every_loss_takes_what_its_entry_says() -> None:
    for name, entry in LOSSES.items():
        functions = [f for f in (entry.binary, entry.several) if f is not None]
        assert functions, name
        shared = {"logits", "targets", "positive_weight", "class_weights", "label_smoothing"}
        shared |= {"class_counts"} if entry.counts else set()
        for function in functions:
            own = set(inspect.signature(function).parameters) - shared
            assert own == set(entry.parameters), name


@pytest.mark.parametrize(
    ("name", "parameters", "said"),
    [
        ("focal", {"gama": 2.0}, r"loss\.parameters\.gama: unknown .* did you mean gamma\?"),
        ("focal", {"alpha": 0.5}, r"loss\.parameters\.alpha: unknown parameter; known: gamma"),
        ("focal", {"gamma": -1.0}, r"loss\.parameters\.gamma: from 0 to 10 \(got -1\)"),
        ("bce", {"gamma": 2.0}, r"loss\.parameters\.gamma: unknown parameter; bce has none"),
    ],
)
def test_a_parameter_that_cannot_be_meant_is_refused(
    name: str, parameters: dict[str, float], said: str
) -> None:
    with pytest.raises(RecipeError, match=said):
        find_loss(name, parameters, outputs=1)
