"""Gradient checkpointing: activations computed twice instead of kept (Chen et al. 2016)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from melanoma.errors import RecipeError

_Norm = nn.modules.batchnorm._BatchNorm


def can_checkpoint(backbone: nn.Module) -> bool:
    """Whether the backbone is a sequence of blocks, or a model of timm that does it itself."""
    model = getattr(backbone, "model", None)
    return isinstance(backbone, nn.Sequential) or hasattr(model, "set_grad_checkpointing")


def start_checkpointing(backbone: nn.Module) -> None:
    """Let a model of timm do it. Raises RecipeError for a backbone that cannot."""
    if not can_checkpoint(backbone):
        raise RecipeError("training.checkpointing: this backbone is no sequence of blocks")
    if not isinstance(backbone, nn.Sequential):
        backbone.model.set_grad_checkpointing(True)  # type: ignore[union-attr, operator]
        for norm in filter(_has_statistics, backbone.modules()):
            norm.register_forward_pre_hook(_hold)
            norm.register_forward_hook(_let_go, always_call=True)


def run_checkpointed(backbone: nn.Module, images: Tensor) -> Tensor:
    """What the backbone gives; only what stands between its blocks is kept for the gradient.

    Dropout draws the same numbers the second time, and BatchNorm counts the batch once.
    """
    if not isinstance(backbone, nn.Sequential):
        features: Tensor = backbone(images)
        return features
    for segment in _segments(backbone):
        contexts = partial(_contexts, segment)
        images = checkpoint(segment, images, use_reentrant=False, context_fn=contexts)
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


def _contexts(
    segment: nn.Module,
) -> tuple[AbstractContextManager[object], AbstractContextManager[object]]:
    return nullcontext(), _still_statistics(segment)


@contextmanager
def _still_statistics(segment: nn.Module) -> Iterator[None]:
    """BatchNorms whose running statistics stay as they are."""
    norms = [m for m in segment.modules() if isinstance(m, _Norm) and _has_statistics(m)]
    states = [(n.momentum, n.num_batches_tracked) for n in norms]
    for norm in norms:
        norm.momentum = 0.0
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked = torch.zeros_like(norm.num_batches_tracked)
    try:
        yield
    finally:
        for norm, (momentum, tracked) in zip(norms, states, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, tracked


def _has_statistics(module: nn.Module) -> bool:
    return isinstance(module, _Norm) and module.track_running_stats


def _hold(norm: nn.Module, _: object) -> None:
    """Before a norm computes a second time, which is within a backward pass: it counts nothing."""
    if torch._C._current_graph_task_id() != -1:
        norm.__dict__["still"] = still = _still_statistics(norm)
        still.__enter__()


def _let_go(norm: nn.Module, *_: object) -> None:
    # Also where the second pass is broken off, as torch does once it has what it needs.
    if (still := norm.__dict__.pop("still", None)) is not None:
        still.__exit__(None, None, None)
