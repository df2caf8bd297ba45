"""A faster backward pass of depthwise convolutions in bfloat16 on processors.

oneDNN has no fast kernels there for two of its halves: the gradient of the input at a stride, and
that of kernels wider than 3. Both are sums that its fast kernels give: the first is a convolution
at stride 1 of the gradient with zeros between, the second is put together from windows of 3 x 3.
python -m benchmarks.depthwise measures both ways beside each other.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from melanoma.models.classifier import Classifier

_WINDOW = 3  # of kernels whose gradient has a fast kernel


def faster_depthwise(
    classifier: Classifier, device: torch.device, precision: torch.dtype, *, compiled: bool
) -> AbstractContextManager[object]:
    """For a forward pass whose backward pass is to be fast; nothing where it would not be.

    Not for programs of torch.compile, and not where activations are computed twice: the second
    pass would not be the first one.
    """
    bfloat16_on_cpu = device.type == "cpu" and precision == torch.bfloat16
    if not bfloat16_on_cpu or compiled or classifier.checkpointing:
        return nullcontext()
    return _Depthwise()


class _Depthwise(TorchFunctionMode):
    """Sends depthwise convolutions to `_Convolution`, and leaves every other call as it is."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.conv2d and not kwargs and len(args) == 7:
            images, weight, bias, stride, padding, dilation, groups = args
            if _is_depthwise(weight, stride, padding, dilation, groups):
                inputs = (images.to(torch.bfloat16), weight.to(torch.bfloat16))
                out: Any = _Convolution.apply(*inputs, stride[0], padding[0])
                return out if bias is None else out + bias.to(out.dtype).view(1, -1, 1, 1)
        return func(*args, **(kwargs or {}))


def _is_depthwise(weight: Tensor, stride: Any, padding: Any, dilation: Any, groups: int) -> bool:
    channels, each, height, width = weight.shape
    square = height == width and height % 2 == 1 and height >= _WINDOW
    if channels != groups or each != 1 or not square or tuple(dilation) != (1, 1):
        return False
    if isinstance(padding, str) or len(set(stride)) > 1 or len(set(padding)) > 1:
        return False
    # What torch does well stays with it.
    return padding[0] < height and (stride[0] > 1 or height > _WINDOW)


class _Convolution(torch.autograd.Function):
    """(B, C, H, W) by (C, 1, K, K), a kernel for each channel; equal to torch's up to rounding."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(images, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(images, weight, None, stride, padding, 1, len(weight))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        images, weight = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        of_images, of_weight = ctx.needs_input_grad[:2]
        return (
            _of_images(images, weight, gradient, ctx.stride, ctx.padding) if of_images else None,
            _of_weight(images, weight, gradient, ctx.stride, ctx.padding) if of_weight else None,
            None,
            None,
        )


def _of_images(
    images: Tensor, weight: Tensor, gradient: Tensor, stride: int, padding: int
) -> Tensor:
    """(B, C, H, W): each pixel's part in the loss."""
    kernel = weight.shape[-1]
    if stride > 1:
        count, channels, *sides = images.shape
        height, width = (side + 2 * padding - kernel + 1 for side in sides)
        spread = gradient.new_zeros(count, height, width, channels).permute(0, 3, 1, 2)
        spread[:, :, ::stride, ::stride] = gradient
        gradient = spread
    return F.conv2d(gradient, weight.flip(2, 3), None, 1, kernel - 1 - padding, 1, len(weight))


def _of_weight(
    images: Tensor, weight: Tensor, gradient: Tensor, stride: int, padding: int
) -> Tensor:
    """(C, 1, K, K), from windows that overlap where K is no multiple of theirs."""
    padded = F.pad(images, (padding,) * 4)
    height, width = (stride * (side - 1) + _WINDOW for side in gradient.shape[2:])
    like = weight[:, :, :_WINDOW, :_WINDOW].contiguous()
    weight_gradient = torch.empty_like(weight)
    starts = range(0, weight.shape[-1] - 2, 2)
    for top in starts:
        for left in starts:
            window = padded[:, :, top : top + height, left : left + width]
            _, part, _ = torch.ops.aten.convolution_backward(
                gradient,
                window.contiguous(memory_format=torch.channels_last),
                *(like, None, [stride] * 2, [0, 0], [1, 1], False, [0, 0], len(weight)),
                [False, True, False],
            )
            weight_gradient[:, :, top : top + _WINDOW, left : left + _WINDOW] = part
    return weight_gradient
