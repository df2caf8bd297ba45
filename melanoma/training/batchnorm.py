"""BatchNorm's means and variances for weights that training has just left."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from melanoma.data.batches import BatchLoader, RowSource
from melanoma.data.transforms import Normalize
from melanoma.errors import RecipeError
from melanoma.models.classifier import Classifier, is_kept
from melanoma.recipe.recipe import Recipe
from melanoma.training.epoch import load_parts, network_inputs
from melanoma.training.fold_data import FoldData
from melanoma.training.ranks import ALONE, Ranks
from melanoma.training.source_rows import training_rows


@torch.no_grad()
def renew_statistics(
    classifier: Classifier,
    source: RowSource,
    rows: npt.NDArray[np.int64],
    *,
    normalize: Normalize,
    batch_size: int,
    workers: int = 0,
    loader: BatchLoader | None = None,
    between: Callable[[], None] = lambda: None,
    ranks: Ranks = ALONE,
) -> None:
    """BatchNorm's means and variances of these weights, from images as they are scored.

    Those that training leaves behind are a running mean over weights that have changed since, over
    augmented images, in half precision. Here they are the plain mean over batches of `rows`, in
    float32 and not augmented (PreciseBN; Wu & Johnson 2021, arXiv 2105.07576). A frozen backbone
    keeps its own, and so do frozen stages. torch's update_bn does not fit: it sets the whole
    network to training, so that dropout draws from the generator that a resumed run must find as it
    was, and it leaves the momenta changed where `between` stops it. Several `ranks` share the
    batches out.
    """
    classifier.eval()
    every = [m for m in classifier.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    norms = [norm for norm in every if not is_kept(norm)]
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
        own = ranks.own_parts(parts, classifier)
        for batch in load_parts(source, own, workers=workers, loader=loader):
            inputs = network_inputs(batch, normalize=normalize, device=device)
            classifier(inputs.contiguous(memory_format=torch.channels_last))
            between()
        ranks.average_norms(norms, classifier)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        classifier.eval()


def fold_rows(recipe: Recipe, data: FoldData, images: int) -> npt.NDArray[np.int64]:
    """So many of the rows that train the fold, its sources' among them, the same every time."""
    return statistics_rows(training_rows(data), images, seed=(recipe.seed, data.fold))


def statistics_rows(
    training: npt.NDArray[np.int64], images: int, *, seed: tuple[int, ...]
) -> npt.NDArray[np.int64]:
    """The rows that renew_statistics sees: `images` of the training part, the same every time."""
    drawn = np.random.default_rng(seed).permutation(training)[:images]
    return np.asarray(drawn, np.int64)


@contextmanager
def lone_images_refused() -> Iterator[None]:
    """Raises RecipeError where a batch of one image gives a BatchNorm one value a channel, as
    behind an image of 32 px, in the place of torch's own error."""
    try:
        yield
    except ValueError as error:
        if not str(error).startswith("Expected more than 1 value per channel"):
            raise
        raise RecipeError(
            "a batch has one image, of which BatchNorm has no variance in this backbone at this "
            "image.size; take a larger training.batch_size, less training.accumulate, or another "
            "training.precise_bn"
        ) from error
