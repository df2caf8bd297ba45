"""What every loss does first: float32, smoothed targets, and shapes that fit."""

from __future__ import annotations

import pytest
import torch

from melanoma.errors import MelanomaError
from melanoma.models.loss_inputs import binary_inputs, class_inputs


def test_binary_logits_are_their_one_column_and_targets_are_smoothed_toward_a_half() -> None:
    logits = torch.tensor([[1.5], [-2.0], [0.25]], dtype=torch.bfloat16)
    scores, targets = binary_inputs(logits, torch.tensor([1, 0, 1]), 0.2)
    assert scores.dtype == targets.dtype == torch.float32
    assert scores.tolist() == [1.5, -2.0, 0.25]
    assert targets.tolist() == pytest.approx([0.9, 0.1, 0.9])
    _, plain = binary_inputs(logits, torch.tensor([1.0, 0.0, 0.3]), 0.0)
    assert plain.tolist() == pytest.approx([1.0, 0.0, 0.3]), "a soft target stays what it is"


def test_class_logits_are_float32_and_targets_class_numbers() -> None:
    logits = torch.tensor([[0.5, 1.0, -1.0], [2.0, 0.0, 0.0]], dtype=torch.float16)
    scores, targets = class_inputs(logits, torch.tensor([2.0, 0.0]))
    assert (scores.dtype, targets.dtype) == (torch.float32, torch.int64)
    assert torch.equal(scores, logits.float())
    assert targets.tolist() == [2, 0]


def test_gradients_flow_to_the_logits() -> None:
    for outputs, inputs in ((1, lambda x, y: binary_inputs(x, y, 0.1)), (3, class_inputs)):
        logits = torch.zeros((2, outputs), requires_grad=True)
        inputs(logits, torch.tensor([0, 1]))[0].sum().backward()
        assert logits.grad is not None and (logits.grad == 1).all()


@pytest.mark.parametrize(
    ("logits", "targets"),
    [((4,), (4,)), ((4, 2), (4,)), ((4, 1), (4, 1)), ((4, 1), (3,)), ((0, 1), (0,)), ((1, 1), ())],
)
def test_binary_shapes_that_would_broadcast_are_refused_by_their_shapes(
    logits: tuple[int, ...], targets: tuple[int, ...]
) -> None:
    with pytest.raises(MelanomaError, match="do not fit targets") as refused:
        binary_inputs(torch.zeros(logits), torch.zeros(targets), 0.0)
    assert f"logits {logits} " in str(refused.value) and f"targets {targets}:" in str(refused.value)


@pytest.mark.parametrize(
    ("logits", "targets"),
    [((4,), (4,)), ((4, 1), (4,)), ((4, 3), (4, 1)), ((4, 3), (3,)), ((0, 3), (0,))],
)
def test_class_shapes_that_do_not_fit_are_refused_by_their_shapes(
    logits: tuple[int, ...], targets: tuple[int, ...]
) -> None:
    with pytest.raises(MelanomaError, match="do not fit targets") as refused:
        class_inputs(torch.zeros(logits), torch.zeros(targets))
    assert f"logits {logits} " in str(refused.value) and f"targets {targets}:" in str(refused.value)
