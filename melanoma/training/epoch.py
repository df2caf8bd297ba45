"""The inner loop: one epoch of training, one pass of prediction. Readable from top to bottom."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from melanoma.data.batches import Batch, Plan, RowSource, load_batches
from melanoma.data.transforms import dihedral_views, to_tensor
from melanoma.devices import autocast
from melanoma.errors import MelanomaError
from melanoma.models.classifier import Classifier
from melanoma.training.state import TrainingState

Loss = Callable[[Tensor, Tensor], Tensor]
BAD_STEPS = 10  # non-finite steps in a row that end a run


class NonFiniteError(MelanomaError):
    """Steps in a row, or held-out logits, were not finite; `rows` are the last batch, or theirs."""

    def __init__(self, message: str, rows: npt.NDArray[np.int64]) -> None:
        super().__init__(message)
        self.rows = rows


def train_epoch(
    state: TrainingState,
    batches: Iterable[Batch],
    *,
    targets: npt.NDArray[np.int64],
    loss: Loss,
    normalize: str,
    precision: torch.dtype,
    clip_norm: float | None,
    planned: int,
    after_step: Callable[[], None],
) -> None:
    """Train on the rest of one epoch. `targets` are by array row, `planned` counts its batches.

    A step whose loss or gradient is not finite is left out and counted. Raises NonFiniteError when
    BAD_STEPS come in a row.
    """
    model = state.classifier.train()
    device = next(model.parameters()).device
    parameters = [p for p in model.parameters() if p.requires_grad]
    group_loss = 0.0
    for batch in batches:
        state.set_rates(state.epoch + state.batch / planned)
        inputs = _inputs(batch, normalize=normalize, device=device)
        wanted = torch.as_tensor(targets[batch.rows], dtype=torch.float32, device=device)
        with autocast(device, precision):
            logits = model.classify(inputs) if batch.embedded else model(inputs)
        value = loss(logits.float(), wanted)
        state.scaler.scale(value * batch.share).backward()  # type: ignore[no-untyped-call]

        lost = value.item()
        group_loss += lost * batch.share
        if math.isfinite(lost):  # else one batch would turn the epoch's mean into NaN
            state.loss_sum += lost * len(batch.rows)
            state.images += len(batch.rows)
        state.batch += 1
        if not batch.closes:
            continue

        state.scaler.unscale_(state.optimizer)
        norm = nn.utils.clip_grad_norm_(parameters, clip_norm or math.inf)
        finite = math.isfinite(group_loss) and bool(torch.isfinite(norm))
        if finite or state.scaler.is_enabled():  # the scaler leaves the step out by itself
            state.scaler.step(state.optimizer)
            state.scaler.update()
        if finite and state.average is not None:
            state.average.update_parameters(model)
        state.optimizer.zero_grad(set_to_none=True)
        state.bad_in_row = 0 if finite else state.bad_in_row + 1
        state.skipped += not finite
        group_loss = 0.0
        if state.bad_in_row >= BAD_STEPS:
            raise NonFiniteError(
                f"{BAD_STEPS} steps in a row gave non-finite losses or gradients", batch.rows
            )
        after_step()


def _inputs(batch: Batch, *, normalize: str, device: torch.device) -> Tensor:
    if batch.embedded:
        return batch.pixels.to(device, non_blocking=True)
    return to_tensor(batch.pixels, normalize=normalize, device=device)


@torch.inference_mode()
def predict_logits(classifier: nn.Module, images: Tensor, *, views: int) -> Tensor:
    """(B, C) float32: the mean logit over the first `views` symmetries of (B, 3, S, S).

    Always in float32: what is evaluated is what is served.
    """
    logits = [
        classifier(view.contiguous(memory_format=torch.channels_last)).float()
        for view in dihedral_views(images, views)
    ]
    return torch.stack(logits).mean(dim=0)


def predict_rows(
    classifier: Classifier,
    source: RowSource,
    rows: npt.NDArray[np.int64],
    *,
    normalize: str,
    views: int,
    batch_size: int,
    workers: int = 0,
    between: Callable[[], None] = lambda: None,
) -> npt.NDArray[np.float64]:
    """(len(rows), C) logits of the source's rows, in their order. Embeddings have one view."""
    classifier.eval()
    device = next(classifier.parameters()).device
    parts = np.array_split(rows, math.ceil(len(rows) / batch_size))
    found = []
    for batch in load_batches(source, [Plan(part) for part in parts], workers=workers):
        inputs = _inputs(batch, normalize=normalize, device=device)
        if batch.embedded:
            assert views == 1, "an embedding is of the upright image alone"
            logits = _classify(classifier, inputs)
        else:
            logits = predict_logits(classifier, inputs, views=views)
        found.append(logits.cpu().numpy())
        between()
    return np.concatenate(found).astype(np.float64)


@torch.no_grad()
def renew_statistics(
    classifier: Classifier,
    source: RowSource,
    rows: npt.NDArray[np.int64],
    *,
    normalize: str,
    batch_size: int,
    workers: int = 0,
    between: Callable[[], None] = lambda: None,
) -> None:
    """BatchNorm's means and variances of these weights, from images as they are scored.

    Those that training leaves behind are a running mean over weights that have changed since, over
    augmented images, in half precision. Here they are the plain mean over batches of `rows`, in
    float32 and not augmented (PreciseBN; Wu & Johnson 2021, arXiv 2105.07576). A frozen backbone
    keeps its own.
    """
    classifier.eval()
    norms = [m for m in classifier.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if classifier.frozen or not norms:
        return
    momenta = [norm.momentum for norm in norms]
    device = next(classifier.parameters()).device
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean of all batches
        norm.train()
    try:
        parts = np.array_split(rows, math.ceil(len(rows) / batch_size))
        for batch in load_batches(source, [Plan(part) for part in parts], workers=workers):
            inputs = _inputs(batch, normalize=normalize, device=device)
            classifier(inputs.contiguous(memory_format=torch.channels_last))
            between()
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        classifier.eval()


def statistics_rows(
    training: npt.NDArray[np.int64], images: int, *, seed: tuple[int, ...]
) -> npt.NDArray[np.int64]:
    """The rows that renew_statistics sees: `images` of the training part, the same every time."""
    drawn = np.random.default_rng(seed).permutation(training)[:images]
    return np.asarray(drawn, np.int64)


@torch.inference_mode()
def _classify(classifier: Classifier, embeddings: Tensor) -> Tensor:
    return classifier.classify(embeddings).float()
