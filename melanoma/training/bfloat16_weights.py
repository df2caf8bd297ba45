"""Weights that bfloat16 holds, so that scoring in it rounds what passes through a network alone.

A processor that multiplies bfloat16 multiplies weights of 8 bits, with BatchNorm's scale in them. A
convolution whose weights nearly cancel each other, as those of a small filter do, then gives
another mean wherever the picture is even, and everything behind it is shifted. Here the weights are
rounded once, where they are kept: in float32 and in bfloat16 the same numbers are multiplied, and
what the rounding shifts is taken out of BatchNorm's means and of biases, as measured on images
(bias correction; Nagel et al. 2019, arXiv 1906.04721, section 4.2).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

import torch
from torch import Tensor, nn

from melanoma.data.batches import RowSource
from melanoma.errors import RecipeError
from melanoma.models.classifier import Classifier
from melanoma.recipe.recipe import Recipe
from melanoma.training.batchnorm import fold_rows
from melanoma.training.epoch import load_parts, network_inputs
from melanoma.training.fold_data import FoldData

Layer: TypeAlias = nn.Conv2d | nn.Linear
Norm: TypeAlias = nn.modules.batchnorm._BatchNorm

# Of the logits, beside their spread and their size: scaling changes the last bits alone.
_SAME, _LAST_BITS = 1e-3, 1e-5
# Of the images that show what is shifted, which pass through the network at once.
_PIXELS, _FEWEST = 128 * 128**2, 16


def round_fold(recipe: Recipe, data: FoldData, classifier: Classifier, source: RowSource) -> None:
    """round_weights on images of the fold's training part, which are rows of `source`."""
    count = max(_FEWEST, _PIXELS // recipe.image.size**2)
    parts = [fold_rows(recipe, data, count)]
    device = next(classifier.parameters()).device
    (batch,) = load_parts(source, parts, workers=0, loader=None)
    images = network_inputs(batch, normalize=recipe.image.normalize, device=device)
    round_weights(classifier, images.contiguous(memory_format=torch.channels_last))


def require_roundable(classifier: Classifier, size: int) -> None:
    """Raise RecipeError, before anything is trained, for a network that round_weights refuses."""
    noise = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    round_weights(copy.deepcopy(classifier), noise)


@torch.no_grad()
def round_weights(classifier: Classifier, images: Tensor) -> None:
    """Round the weights of `classifier` to bfloat16, in place, and take out what that shifts.

    `images` (N, 3, S, S) float32 are of the training part, normalized, as they are scored. Layers
    that training left alone are rounded too. A convolution before a BatchNorm is scaled so that
    BatchNorm's own scale is a power of two, and the product of both, and what is added, are what
    bfloat16 holds. Raises RecipeError for a network that uses what such a convolution gives
    elsewhere too.
    """
    classifier.eval()
    layers = [one for one in classifier.modules() if isinstance(one, Layer)]
    logits, means, norms = _follow(classifier, images, layers)
    spread = logits.std()
    for layer, norm in norms.items():
        means[layer] *= _move_scale(layer, norm)
    if (classifier(images) - logits).abs().max() > _SAME * spread + _LAST_BITS * logits.abs().max():
        raise RecipeError(
            "training.bfloat16_weights: this backbone uses what a convolution gives elsewhere than "
            "in the BatchNorm behind it"
        )
    for layer in layers:
        layer.weight.copy_(layer.weight.bfloat16())

    def correct(layer: Layer, output: Tensor) -> Tensor | None:
        shift = _channel_means(layer, output) - means[layer]
        norm = norms.get(layer)
        if norm is not None:
            _take_out(layer, norm, shift)  # before it is read, behind this layer
        elif layer.bias is not None:
            before = layer.bias.clone()
            layer.bias.copy_((before - shift).bfloat16())
            more = layer.bias - before
            return output + (more if isinstance(layer, nn.Linear) else more[:, None, None])
        return None

    with _watched(layers, correct):
        classifier(images)


def _follow(
    classifier: Classifier, images: Tensor, layers: Sequence[Layer]
) -> tuple[Tensor, dict[Layer, Tensor], dict[Layer, Norm]]:
    """The logits, what each layer gives in the mean, (channels,), and the BatchNorm that takes it,
    with statistics of its own."""
    means: dict[Layer, Tensor] = {}
    norms: dict[Layer, Norm] = {}
    given: dict[int, tuple[Layer, Tensor]] = {}

    def note(layer: Layer, output: Tensor) -> None:
        means[layer] = _channel_means(layer, output)
        given.clear()  # what is not taken at once is not kept
        given[id(output)] = (layer, output)

    def take(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        found = given.pop(id(inputs[0]), None)
        if found and isinstance(norm, Norm) and norm.running_var is not None:
            norms[found[0]] = norm

    every = [one for one in classifier.modules() if isinstance(one, Norm)]
    handles = [norm.register_forward_pre_hook(take) for norm in every]
    try:
        with _watched(layers, note):
            return classifier(images), means, norms
    finally:
        for handle in handles:
            handle.remove()


def _move_scale(layer: Layer, norm: Norm) -> Tensor:
    """Leave `norm` the next lower power of two of its scale, a channel each, and give the rest to
    the layer: what the layer's outputs are multiplied by, 1 or more and below 2."""
    mean, variance = _tensor(norm.running_mean), _tensor(norm.running_var)
    scale = _scale_of(norm).abs()
    kept = torch.exp2(torch.log2(scale).floor())
    more = torch.where(scale > 0, scale / kept, torch.ones_like(scale))
    layer.weight.mul_(more.reshape(-1, *[1] * (layer.weight.dim() - 1)))
    if layer.bias is not None:
        layer.bias.mul_(more)
    mean.mul_(more)
    # Of (variance + eps) more^2, which may not fall below eps: so the power is the lower one.
    variance.copy_((variance + norm.eps) * more**2 - norm.eps)
    return more


def _take_out(layer: Layer, norm: Norm, shift: Tensor) -> None:
    """Move the means of `norm` by `shift`, and on to where what is added is what bfloat16 holds."""
    mean, scale = _tensor(norm.running_mean), _scale_of(norm)
    mean.add_(shift)
    offset = torch.zeros_like(mean) if norm.bias is None else norm.bias
    own = torch.zeros_like(mean) if layer.bias is None else layer.bias
    added = (offset + (own - mean) * scale).bfloat16()
    mean.copy_(torch.where(scale == 0, mean, own + (offset - added) / scale))


def _scale_of(norm: Norm) -> Tensor:
    """What a channel is multiplied by, (channels,), of either sign."""
    scale = (_tensor(norm.running_var) + norm.eps).rsqrt()
    return scale if norm.weight is None else norm.weight * scale


def _channel_means(layer: Layer, output: Tensor) -> Tensor:
    axis = -1 if isinstance(layer, nn.Linear) else 1
    return output.transpose(axis, -1).reshape(-1, output.shape[axis]).mean(dim=0)


def _tensor(value: Tensor | None) -> Tensor:
    assert value is not None, "a BatchNorm with statistics"
    return value


@contextmanager
def _watched(
    layers: Sequence[Layer], see: Callable[[Layer, Tensor], Tensor | None]
) -> Iterator[None]:
    """Call `see` with each layer and what it gives, which `see` may change."""
    handles = [
        layer.register_forward_hook(lambda module, _, output: see(module, output))
        for layer in layers
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
