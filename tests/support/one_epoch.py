"""An epoch of a recipe on a small network, for what its batches and optimizer add up to."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from melanoma.data.arrays import ImageArray
from melanoma.data.batches import load_batches, plan_epoch
from melanoma.models.classifier import Classifier
from melanoma.models.losses import binary_cross_entropy
from melanoma.recipe.recipe import Recipe
from melanoma.training.epoch import train_epoch
from melanoma.training.fold_data import FoldData
from melanoma.training.state import start_state


def weights_after_an_epoch(
    network: Classifier, recipe: Recipe, data: FoldData, array: ImageArray, *, smoothing: float
) -> Tensor:
    """All parameters, in one row, after an epoch with positives weighted threefold."""
    device = torch.device("cpu")
    plans = plan_epoch(
        data.training,
        data.targets[data.training],
        sampler=recipe.sampler,
        batch_size=recipe.training.batch_size,
        accumulate=recipe.training.accumulate,
        seed=(1, 2),
    )
    train_epoch(
        start_state(network, recipe, precision=torch.float32, device=device),
        load_batches(array, plans, workers=0),
        targets=data.targets,
        loss=partial(binary_cross_entropy, positive_weight=3.0, label_smoothing=smoothing),
        normalize="imagenet",
        precision=torch.float32,
        clip_norm=None,
        planned=len(plans),
        after_step=lambda: None,
    )
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])
