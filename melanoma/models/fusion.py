"""Batch norms folded into the convolutions before them, without tracing.

torch.fx replaces nn.Module.__call__ for the whole process while it traces, and so breaks whatever
network another thread runs meanwhile. Here the order of a copy's own layers is seen by hooks.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

_SIDE = 32  # the smallest image that every backbone takes
# Of the largest number: folding rounds, a mistake is far larger.
_TOLERANCE = 1e-3


def fuse_norms(network: nn.Module) -> nn.Module:
    """A copy in evaluation mode whose batch norms are part of the convolutions before them.

    `network` takes images (B, 3, S, S) and is left as it is. A norm that does not follow a
    convolution stays, and so does every norm where a convolution's output is used elsewhere too.
    """
    # A copy has hooks of its own: another thread may run the network itself at this moment.
    fused = copy.deepcopy(network).eval()
    if not any(isinstance(layer, nn.BatchNorm2d) for layer in fused.modules()):
        return fused
    weight = next(fused.parameters())
    images = torch.randn(
        (2, 3, _SIDE, _SIDE), generator=torch.Generator().manual_seed(0), dtype=torch.float32
    ).to(weight.device, weight.dtype)
    pairs, expected = _find_pairs(fused, images)
    layers = dict(fused.named_modules())
    for convolution, norm in pairs:
        _put(fused, convolution, fuse_conv_bn_eval(layers[convolution], layers[norm]))
        _put(fused, norm, _after_norm(layers[norm]))
    with torch.no_grad():
        actual = fused(images)
    # What hooks cannot see is a convolution whose output a norm and something else both read.
    if (actual - expected).abs().max() > _TOLERANCE * expected.abs().max():
        return copy.deepcopy(network).eval()
    return fused


def _find_pairs(network: nn.Module, images: Tensor) -> tuple[list[tuple[str, str]], Tensor]:
    """The names of each convolution and the norm that reads it, and the network's output."""
    written: dict[int, tuple[str, Tensor]] = {}  # the tensor is kept, so that its id is not reused
    pairs: list[tuple[str, str]] = []
    calls: dict[str, int] = {}

    def note(name: str, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        calls[name] = calls.get(name, 0) + 1
        if isinstance(layer, nn.Conv2d):
            written[id(output)] = (name, output)
        elif id(inputs[0]) in written:
            pairs.append((written[id(inputs[0])][0], name))

    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d | nn.BatchNorm2d):
            layer.register_forward_hook(
                lambda layer, inputs, output, name=name: note(name, layer, inputs, output)
            )
    with torch.no_grad():
        output = network(images)
    for layer in network.modules():
        layer._forward_hooks.clear()
    once = [pair for pair in pairs if calls[pair[0]] == calls[pair[1]] == 1]
    return once, output


def _after_norm(norm: nn.Module) -> nn.Module:
    """What a norm does beside normalising: timm's have the activation in them."""
    after = [child for _, child in norm.named_children()]
    return nn.Sequential(*after) if after else nn.Identity()


def _put(network: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, layer)
