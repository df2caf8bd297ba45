"""How weights and the sampler shift the classes' shares: the loss, the first bias, the prior."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from melanoma.evaluation.calibration import prior_shift
from melanoma.models.losses import class_weights, find_loss, positive_weight
from melanoma.models.mixed_targets import MixedTargets
from melanoma.recipe.recipe import Recipe
from melanoma.training.auxiliary import AuxiliaryLoss
from melanoma.training.fold_data import FoldData
from melanoma.training.function_types import LossFunction
from melanoma.training.mixing import MixedLoss
from melanoma.training.teacher import TaughtLoss
from melanoma.types import Floats


def make_loss(recipe: Recipe, data: FoldData, *, device: torch.device) -> LossFunction:
    """The loss of batch_targets (mixed ones where the recipe mixes). Raises RecipeError for one
    that does not fit."""
    loss = _class_loss(recipe, data, device=device)
    teacher = recipe.loss.teacher
    if teacher is not None:
        shift = _logit_shift(recipe, data)
        loss = TaughtLoss(loss, shift, teacher.weight, teacher.temperature, device=device)
    rules = recipe.loss.auxiliary
    if rules is not None:
        loss = AuxiliaryLoss(loss, outputs=recipe.outputs, weight=rules.weight)
    return loss if recipe.training.mix is None else MixedLoss(loss)


def _class_loss(recipe: Recipe, data: FoldData, *, device: torch.device) -> LossFunction:
    """The recipe's loss with its weights."""
    rules = recipe.loss
    if data.sources:
        return _mixed_loss(recipe, data, device=device)
    entry = find_loss(rules.name, rules.parameters, outputs=recipe.outputs)
    counts = {"class_counts": data.class_counts.tolist()} if entry.counts else {}
    if entry.binary is not None and recipe.is_binary:
        return partial(
            entry.binary,
            positive_weight=loss_weight(recipe, data),
            label_smoothing=rules.label_smoothing,
            **counts,
            **rules.parameters,
        )
    assert entry.several is not None  # as find_loss has made sure
    weights = None
    if rules.class_weight != "none":
        weights = torch.tensor(loss_weights(recipe, data), dtype=torch.float32, device=device)
    return partial(
        entry.several,
        class_weights=weights,
        label_smoothing=rules.label_smoothing,
        **counts,
        **rules.parameters,
    )


def _mixed_loss(recipe: Recipe, data: FoldData, *, device: torch.device) -> LossFunction:
    """The same likelihood over targets of the sources as well; see batch_targets."""
    binary = recipe.is_binary
    return MixedTargets(
        counts=data.class_counts.tolist(),
        weights=(1.0, loss_weight(recipe, data)) if binary else loss_weights(recipe, data),
        shift=_logit_shift(recipe, data),
        melanoma=recipe.melanoma_columns,
        label_smoothing=recipe.loss.label_smoothing,
        device=device,
    )


def _logit_shift(recipe: Recipe, data: FoldData) -> list[float]:
    """What weights and sampler add to the logit of each class."""
    shift = np.atleast_1d(np.asarray(fold_prior_shift(recipe, data), np.float64)).tolist()
    return [0.0, *shift] if recipe.is_binary else list(shift)


def loss_weight(recipe: Recipe, data: FoldData) -> float:
    """With one output: how often a positive counts."""
    return positive_weight(
        len(data.training) - data.positives,
        data.positives,
        rule=recipe.loss.positive_weight,
        cap=recipe.loss.cap,
        beta=recipe.loss.beta,
    )


def loss_weights(recipe: Recipe, data: FoldData) -> tuple[float, ...]:
    """With several outputs: how often an image of each class counts."""
    rules, counts = recipe.loss, data.class_counts.tolist()
    return class_weights(counts, rule=rules.class_weight, cap=rules.cap, beta=rules.beta)


def shown_shares(recipe: Recipe, data: FoldData) -> tuple[float, ...]:
    """Each class's share of what the loss sees, weights and sampler counted in; their sum 1."""
    if not recipe.is_binary:
        seen = data.class_counts / len(data.training) * np.exp(_class_shift(recipe, data))
        return tuple((seen / seen.sum()).tolist())
    share = data.positives / len(data.training)
    if recipe.sampler.name == "balanced":
        share = recipe.sampler.positive_share
    odds = share / (1 - share) * loss_weight(recipe, data)
    share = odds / (1 + odds)
    return 1 - share, share


def fold_prior_shift(recipe: Recipe, data: FoldData) -> float | tuple[float, ...]:
    """What weights and sampler add to the logit (or, one a class, to the logits)."""
    if not recipe.is_binary:
        return tuple(float(value) for value in _class_shift(recipe, data))
    balanced = recipe.sampler.name == "balanced"
    return prior_shift(
        positive_weight=loss_weight(recipe, data),
        sampled_share=recipe.sampler.positive_share if balanced else None,
        training_share=data.positives / len(data.training),
    )


def _class_shift(recipe: Recipe, data: FoldData) -> Floats:
    """(C,): ln of the class's weight, and of its sampled share / its share in the training part."""
    shift: Floats = np.log(loss_weights(recipe, data))
    if recipe.sampler.name == "balanced":
        shift = shift - np.log(len(data.classes) * data.class_counts / len(data.training))
    return shift
