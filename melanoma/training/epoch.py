"""The inner loop: one epoch of training, one pass of prediction. Readable from top to bottom."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from melanoma.data.batches import Batch, BatchLoader, Plan, RowSource, load_batches
from melanoma.data.transforms import Normalize, dihedral_views, send, to_tensor
from melanoma.devices import autocast
from melanoma.errors import DivergedError, MelanomaError
from melanoma.models.classifier import Classifier
from melanoma.models.seed_mean import SeedMean
from melanoma.training.depthwise import faster_depthwise
from melanoma.training.function_types import LossFunction, NetworkFunction
from melanoma.training.ranks import ALONE, Ranks
from melanoma.training.readings import start_reading
from melanoma.training.sharpness import ascend
from melanoma.training.state import TrainingState

BAD_STEPS = 10  # non-finite steps in a row that end a run
# Of one channel, in a batch of views: larger ones outgrow the caches.
_BATCH_PIXELS = 16 * 128 * 128


class NonFiniteError(MelanomaError):
    """Steps in a row, or held-out logits, were not finite; `rows` are the last batch, or theirs."""

    def __init__(self, message: str, rows: npt.NDArray[np.int64]) -> None:
        super().__init__(message)
        self.rows = rows


def train_epoch(
    state: TrainingState,
    batches: Iterable[Batch],
    *,
    targets: npt.NDArray[np.int64 | np.float32],
    loss: LossFunction,
    normalize: Normalize,
    precision: torch.dtype,
    clip_norm: float | None,
    planned: int,
    after_step: Callable[[], None],
    lag: int | None = None,
    network: NetworkFunction | None = None,
    graphs: Callable[[Tensor, Tensor], Tensor] | None = None,
    ranks: Ranks = ALONE,
) -> None:
    """Train on the rest of one epoch. `targets` are by array row, `planned` counts its batches.

    A step whose loss or gradient is not finite is left out and counted. Raises NonFiniteError when
    BAD_STEPS come in a row. The host reads a step's numbers `lag` steps later: by default at once,
    on a GPU one step later, which then never waits for it. `network` is another way to compute the
    classifier's logits, such as torch.compile's; `graphs` another for the loss and the gradients of
    a batch that is a step of its own (see cuda_graphs). Of several `ranks`, `batches` are this
    process's parts and `network` averages the gradients.
    """
    model = state.classifier.train()
    network = model if network is None else network
    device = next(model.parameters()).device
    lag = int(device.type == "cuda") if lag is None else lag
    parameters = [p for p in model.parameters() if p.requires_grad]
    rho, compiled = state.plan.optimizer.sam_rho, state.recipe.training.compile
    losses: list[Tensor] = []
    sizes: list[int] = []
    parts: list[float] = []
    group: list[Batch] = []  # what SAM passes over once more

    def backward(batch: Batch) -> Tensor:
        batch_targets = batch.wanted
        if batch_targets is None:
            batch_targets = torch.as_tensor(targets[batch.rows], dtype=torch.float32)
        if graphs is not None and batch.alone and not batch.embedded:
            return graphs(batch.pixels, batch_targets)
        inputs = network_inputs(batch, normalize=normalize, device=device)
        with ranks.gradients(network, averaged=batch.closes):
            with (
                autocast(device, precision),
                faster_depthwise(model, device, precision, compiled=compiled),
            ):
                own = batch.embedded and ranks.world == 1
                logits = model.classify(inputs) if own else network(inputs)
            value = loss(logits.float(), send(batch_targets, device))
            state.scaler.scale(value * batch.share).backward()  # type: ignore[no-untyped-call]
        return value.detach()

    for batch in batches:
        state.set_rates(state.epoch + state.batch / planned)
        losses.append(backward(batch))
        sizes.append(batch.images)
        parts.append(batch.part)
        group += [batch] if rho else []
        state.batch += 1
        if not batch.closes:
            continue

        if rho:
            ascend(model, parameters, rho, partial(_each, backward, group))
        state.scaler.unscale_(state.optimizer)
        norm = nn.utils.clip_grad_norm_(parameters, clip_norm or math.inf)
        losses = ranks.mean_losses(losses, parts)
        state.readings.append(start_reading(losses, norm, sizes, batch.rows))
        losses, sizes, parts, group = [], [], [], []
        _step(state, read_first=lag == 0 or not state.optimizer.state)
        state.optimizer.zero_grad(set_to_none=True)
        state.settle(leave=lag)
        _refuse_bad_steps(state)
        after_step()
    state.settle()
    _refuse_bad_steps(state)


def _each(backward: Callable[[Batch], Tensor], group: Sequence[Batch]) -> None:
    for batch in group:
        backward(batch)


def _step(state: TrainingState, *, read_first: bool) -> None:
    """One step of the optimizer and the average, left out when its numbers are not finite.

    When they are not read first, the device leaves the step out by itself; the average then has the
    same weights once more.
    """
    finite = True
    if read_first:  # SGD's momentum does not exist before its first step, which must be a real one
        state.settle()
        finite = state.bad_in_row == 0
    elif not state.scaler.is_enabled():
        lost = ~torch.isfinite(state.readings[-1].on_device).all()
        # Read by torch's fused optimizers; GradScaler sets it for float16.
        state.optimizer.found_inf = lost.float()  # type: ignore[attr-defined]
    if finite or state.scaler.is_enabled():  # the scaler leaves the step out by itself
        state.scaler.step(state.optimizer)
        state.scaler.update()
    if hasattr(state.optimizer, "found_inf"):
        del state.optimizer.found_inf
    if finite and state.average is not None:
        state.average.update_parameters(state.classifier)


def _refuse_bad_steps(state: TrainingState) -> None:
    if state.bad_in_row >= BAD_STEPS:
        raise NonFiniteError(
            f"{BAD_STEPS} steps in a row gave non-finite losses or gradients", state.last_rows
        )


def network_inputs(batch: Batch, *, normalize: Normalize, device: torch.device) -> Tensor:
    """(B, 3, S, S) normalised images on the device, or the embeddings."""
    if batch.embedded:
        return batch.pixels.to(device, non_blocking=True)
    return to_tensor(batch.pixels, normalize=normalize, device=device)


@torch.inference_mode()
def predict_logits(classifier: nn.Module, images: Tensor, *, views: int) -> Tensor:
    """(B, C) float32: the mean logit over the first `views` symmetries of (B, 3, S, S).

    Always in float32: what is evaluated is what is served.
    """
    logits = torch.cat([classifier(part).float() for part in _view_batches(images, views)])
    return logits.view(views, len(images), -1).mean(dim=0)


@torch.inference_mode()
def predict_embedded(
    classifier: Classifier | SeedMean, images: Tensor, *, views: int
) -> tuple[Tensor, Tensor]:
    """predict_logits, and the embeddings of the upright images, (B, D) float32, on the way."""
    first, *others = _view_batches(images, views)
    embeddings = classifier.embed(first)
    logits = [classifier.classify(embeddings).float()]
    logits += [classifier(part).float() for part in others]
    mean = torch.cat(logits).view(views, len(images), -1).mean(dim=0)
    return mean, embeddings[: len(images)].float()


def _view_batches(images: Tensor, views: int) -> Iterator[Tensor]:
    """The views, the upright one first, as many at a time as make a batch of a usual size: a pass
    over a few images costs what its calls cost, whatever the images."""
    every = dihedral_views(images, views)
    at_once = max(1, _BATCH_PIXELS // images[:, 0].numel())
    for first in range(0, views, at_once):
        part = torch.cat(every[first : first + at_once])
        yield part.contiguous(memory_format=torch.channels_last)


def predict_rows(
    classifier: Classifier,
    source: RowSource,
    rows: npt.NDArray[np.int64],
    *,
    normalize: Normalize,
    views: int,
    batch_size: int,
    workers: int = 0,
    loader: BatchLoader | None = None,
    between: Callable[[], None] = lambda: None,
) -> npt.NDArray[np.float64]:
    """(len(rows), C) logits of the source's rows, in their order. Embeddings have one view.

    A `loader` of that source, where there is one, saves starting workers.
    """
    classifier.eval()
    device = next(classifier.parameters()).device
    parts = np.array_split(rows, math.ceil(len(rows) / batch_size))
    batch_logits = []
    for batch in load_parts(source, parts, workers=workers, loader=loader):
        inputs = network_inputs(batch, normalize=normalize, device=device)
        if batch.embedded:
            assert views == 1, "an embedding is of the upright image alone"
            logits = _classify(classifier, inputs)
        else:
            logits = predict_logits(classifier, inputs, views=views)
        batch_logits.append(logits)  # on the device: each batch on its own would be waited for
        between()
    return torch.cat(batch_logits).cpu().numpy().astype(np.float64)


def require_finite(
    logits: npt.NDArray[np.float64], rows: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """The logits of `rows`. Raises NonFiniteError with the rows of those that are not finite."""
    finite = np.isfinite(logits).all(axis=1)
    if not finite.all():
        bad = rows[~finite]
        raise NonFiniteError(f"{len(bad)} held-out images have logits that are not finite", bad)
    return logits


def diverged(error: NonFiniteError, fold: int, epoch: int, names: Sequence[str]) -> DivergedError:
    """What ends a run that gives such numbers again; `names` are those of the error's rows."""
    some = ", ".join(names[:5])
    return DivergedError(
        f"fold {fold}: {error} in epoch {epoch + 1} (images: {some}, ...); "
        "lower optimizer.rate or set optimizer.clip_norm=1"
    )


def load_parts(
    source: RowSource,
    parts: Sequence[npt.NDArray[np.int64]],
    *,
    workers: int,
    loader: BatchLoader | None,
) -> Iterator[Batch]:
    """The parts as batches, by the loader where there is one."""
    plans = [Plan(part) for part in parts]
    if loader is not None:
        return loader.load(plans)
    return load_batches(source, plans, workers=workers)


@torch.inference_mode()
def _classify(classifier: Classifier, embeddings: Tensor) -> Tensor:
    return classifier.classify(embeddings).float()
