"""The faster backward pass of depthwise convolutions gives torch's gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from melanoma.models.classifier import make_classifier
from melanoma.training.depthwise import _Convolution, faster_depthwise

CPU = torch.device("cpu")


def _mode(**options: bool) -> object:
    classifier = make_classifier("mobilenet_v2", outputs=1)
    if options.pop("checkpointing", False):
        classifier.start_checkpointing()
    compiled = options.pop("compiled", False)
    return faster_depthwise(classifier, CPU, torch.bfloat16, compiled=compiled)


def _gradients(layer: nn.Conv2d, images: Tensor) -> list[Tensor]:
    images = images.clone().requires_grad_()
    layer.zero_grad()
    with torch.autocast("cpu", torch.bfloat16), _mode():  # type: ignore[attr-defined]
        out = layer(images)
    # A gradient that differs from place to place, exact in bfloat16.
    (out.float() * (torch.arange(out.numel()).view_as(out) % 7 - 3)).sum().backward()
    return [images.grad, *(one.grad for one in layer.parameters())]  # type: ignore[list-item]


@pytest.mark.parametrize("kernel", [3, 5, 7])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("padding", [0, 1, 2])
def test_the_gradients_are_those_of_float64(kernel: int, stride: int, padding: int) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(6, 6, kernel, stride, padding, groups=6)
    with torch.no_grad():  # small whole numbers: every sum is exact
        for one in layer.parameters():
            one.copy_(torch.randint(-3, 4, one.shape))
    images = torch.randint(-2, 3, (2, 6, 13, 16)).float()
    images = images.contiguous(memory_format=torch.channels_last)
    found = _gradients(layer, images)
    exact = images.double().requires_grad_()
    kernels, bias = (one.detach().double().requires_grad_() for one in layer.parameters())
    out = F.conv2d(exact, kernels, bias, stride=stride, padding=padding, groups=6)
    (out * (torch.arange(out.numel()).view_as(out) % 7 - 3)).sum().backward()  # type: ignore[no-untyped-call]
    for mine, wanted in zip(found, [exact, kernels, bias], strict=True):
        assert wanted.grad is not None
        # The sums are exact; what leaves in bfloat16 is rounded once.
        assert torch.allclose(mine.double(), wanted.grad, rtol=2**-8, atol=0.5)


def test_only_what_torch_does_slowly_is_done_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, ...]] = []
    apply = _Convolution.apply

    def noted(*given: Any) -> Any:
        calls.append(tuple(given[1].shape))
        return apply(*given)

    monkeypatch.setattr(_Convolution, "apply", noted)
    layers = [
        nn.Conv2d(4, 4, 5, 1, 2, groups=4),
        nn.Conv2d(4, 4, 3, 2, 1, groups=4),
        nn.Conv2d(4, 4, 3, 1, 1, groups=4),  # fast as it is
        nn.Conv2d(4, 8, 3, 2, 1, groups=4),  # two kernels a channel
        nn.Conv2d(4, 4, 5, 1, 4, dilation=2, groups=4),
        nn.Conv2d(4, 4, 5, 1, "same", groups=4),
        nn.Conv2d(4, 4, 4, 2, 1, groups=4),
        nn.Conv2d(4, 4, 5, (1, 2), 2, groups=4),
    ]
    with torch.autocast("cpu", torch.bfloat16), _mode():  # type: ignore[attr-defined]
        for layer in layers:
            layer(torch.ones(1, 4, 9, 9))
    assert calls == [(4, 1, 5, 5), (4, 1, 3, 3)]


@pytest.mark.parametrize("options", [{"compiled": True}, {"checkpointing": True}])
def test_programs_and_second_passes_are_left_alone(options: dict[str, bool]) -> None:
    mode = _mode(**options)
    assert not isinstance(mode, torch.overrides.TorchFunctionMode)
