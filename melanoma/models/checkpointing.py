"""Gradient checkpointing: activations computed twice instead of kept (Chen et al. 2016)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from melanoma.errors import RecipeError

_Norm = nn.modules.batchnorm._BatchNorm
_HELD = "held_statistics"


def start_checkpointing(backbone: nn.Module) -> None:
    """Let a model of timm do it, and BatchNorms count a batch once. Raises RecipeError for a
    backbone that cannot."""
    if not isinstance(backbone, nn.Sequential) and not _let_timm_start(backbone):
        raise RecipeError(
            "training.checkpointing: this backbone is no sequence of blocks, and timm does not "
            "checkpoint it"
        )
    for module in backbone.modules():
        if isinstance(module, _Norm) and module.track_running_stats:
            module.register_forward_pre_hook(_hold_statistics)
            # Also where the second pass is broken off, once torch has what it needs.
            module.register_forward_hook(_let_go, always_call=True)


def _let_timm_start(backbone: nn.Module) -> bool:
    """Whether it is a model of timm that checkpoints itself, from now on."""
    try:
        backbone.model.set_grad_checkpointing(True)  # type: ignore[union-attr, operator]
    except (AttributeError, AssertionError):  # what timm says of HRNet, PiT, Inception ...
        return False
    return True


def run_checkpointed(backbone: nn.Module, images: Tensor) -> Tensor:
    """What the backbone gives; only what stands between its blocks is kept for the gradient.

    Dropout draws the same numbers the second time.
    """
    if not isinstance(backbone, nn.Sequential):
        features: Tensor = backbone(images)
        return features
    for segment in _segments(backbone):
        images = checkpoint(segment, images, use_reentrant=False)
    return images


def _segments(backbone: nn.Sequential) -> list[nn.Sequential]:
    """The blocks in order. What has no convolution stays with the block before it: an activation in
    place changes what that gave."""
    segments: list[list[nn.Module]] = []
    for module in _flat(backbone):
        convolves = any(isinstance(part, nn.Conv2d) for part in module.modules())
        if convolves or not segments:
            segments.append([])
        segments[-1].append(module)
    return [nn.Sequential(*modules) for modules in segments]


def _flat(module: nn.Sequential) -> Iterator[nn.Module]:
    for child in module:
        if isinstance(child, nn.Sequential):
            yield from _flat(child)
        else:
            yield child


def _hold_statistics(norm: nn.Module, _: object) -> None:
    """Before a pass within a backward pass, which is a second one: its running statistics stay as
    they are."""
    assert isinstance(norm, _Norm)
    if torch._C._current_graph_task_id() == -1:
        return
    norm.__dict__[_HELD] = norm.momentum, norm.num_batches_tracked
    norm.momentum = 0.0
    if norm.num_batches_tracked is not None:
        norm.num_batches_tracked = torch.zeros_like(norm.num_batches_tracked)


def _let_go(norm: nn.Module, *_: object) -> None:
    assert isinstance(norm, _Norm)
    if (held := norm.__dict__.pop(_HELD, None)) is not None:
        norm.momentum, norm.num_batches_tracked = held
