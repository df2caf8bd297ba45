"""The learning-rate range test: which rates lower the loss, before any run is paid for.

Smith, Cyclical Learning Rates for Training Neural Networks, 2017: the rate grows exponentially from
batch to batch, and the loss falls, levels out and explodes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d

from melanoma.data.batches import Batch, Plan, augment_batches, load_batches
from melanoma.data.device_augmentation.device_augmentation import make_augmentation
from melanoma.data.loader_workers import resolve_workers
from melanoma.devices import resolve_precision, seed_everything
from melanoma.errors import DivergedError, RecipeError
from melanoma.freed_memory import freed_memory_kept
from melanoma.models.classifier import Classifier, make_classifier
from melanoma.recipe.recipe import Recipe
from melanoma.training.auxiliary import auxiliary_values
from melanoma.training.batch_targets import batch_targets
from melanoma.training.batchnorm import lone_images_refused
from melanoma.training.class_balance import make_loss, shown_shares
from melanoma.training.epoch import NonFiniteError, train_epoch
from melanoma.training.fold_data import FoldData
from melanoma.training.mixing import mix_batches
from melanoma.training.schedule import RateSchedule
from melanoma.training.source_rows import plan_fold, row_source
from melanoma.training.starting_weights import load_start
from melanoma.training.state import TrainingState, start_state
from melanoma.training.training_network import training_network
from melanoma.types import Floats

DIVERGED = 4.0  # times the lowest loss
_MIN_STEPS = 20
_WIDTH = 0.04  # of the smoothing, a share of the steps
_SURE = 4.0  # standard errors that a fall must be deep
_PLATEAU = 0.1  # share of the fall that still counts as level
_VALLEY = 0.1  # share of the fall that still counts as lowest


@dataclass(frozen=True)
class RateSweep:
    """What was seen at each step: the highest group's rate, the loss, and the loss smoothed.

    `rates` grow strictly. `by_group` has each group's rate at each step under its name. `diverged`
    says that the sweep stopped early. The two suggestions are None where the loss never fell.
    """

    rates: Floats
    losses: Floats
    smoothed: Floats
    by_group: dict[str, Floats]
    diverged: bool
    steepest: float | None
    tenth: float | None

    @property
    def suggestion(self) -> float | None:
        """A tenth of the rate of the lowest loss: noise moves it less than the steepest place."""
        return self.tenth


def sweep_rates(
    recipe: Recipe,
    data: FoldData,
    *,
    device: torch.device,
    imagenet: Path,
    low: float,
    high: float,
    steps: int,
    advance: Callable[[], None] = lambda: None,
) -> RateSweep:
    """The losses of `steps` steps on the fold's training part, at rates from `low` to `high`.

    A throwaway network with the recipe's loss, optimizer, sampler and augmentation; the rates are
    the head's, and depth_decay lowers them by depth as it does in training; a recipe with stages is
    swept as in its first, on squares of its size. Stops when the mean loss of the last tenth of the
    steps is DIVERGED times its minimum, or is not finite. Raises RecipeError for limits that cannot
    be meant, DivergedError when not even the first steps gave finite losses.
    """
    if recipe.model.embeddings is not None:
        raise RecipeError(
            "model.embeddings: a head alone is trained in minutes; try rates with train"
        )
    if not 0 < low < high:
        raise RecipeError(f"--low {low:g} --high {high:g}: 0 < low < high is needed")
    if steps < _MIN_STEPS:
        raise RecipeError(f"--steps {steps}: at least {_MIN_STEPS} show a curve")
    seed_everything(recipe.seed, data.fold)
    state = _fresh_state(recipe, data, device=device, imagenet=imagenet, low=low, high=high)
    watch = _Watch(state, window=_window(steps), advance=advance)
    plans = _plan_steps(recipe, data, steps)
    try:
        with freed_memory_kept(device), lone_images_refused():
            train_epoch(
                state,
                watch.until_diverged(_batches(recipe, data, plans, device)),
                targets=batch_targets(recipe, data),
                loss=make_loss(recipe, data, device=device),
                planned=len(plans) - 1,  # so that the last batch has the highest rate
                normalize=recipe.image.normalize,
                precision=resolve_precision(recipe.training.precision, device),
                clip_norm=recipe.optimizer.clip_norm,
                after_step=watch.after_step,
                network=training_network(state, state.classifier),
            )
    except NonFiniteError:
        watch.diverged = True
    if len(watch.losses) < _MIN_STEPS // 2:
        raise DivergedError(
            f"the loss was not finite after {len(watch.losses)} steps, at rate {low:g} and a "
            "little above; lower --low"
        )
    return _conclude(watch)


def smooth_losses(losses: Floats) -> Floats:
    """The losses by a Gaussian over neighboring steps, explosions cut at DIVERGED times the start.

    Symmetric, so that it does not lag behind the rate as a running mean does.
    """
    # Uncut, one loss of 10^6 would hide the minimum some steps before it.
    cut = np.minimum(losses, DIVERGED * _start(losses))
    return np.asarray(gaussian_filter1d(cut, _WIDTH * len(losses), mode="reflect"))


def suggest_rates(rates: Floats, losses: Floats, smoothed: Floats) -> tuple[float, float] | None:
    """The rate of the steepest fall, and a tenth of the rate of the lowest loss; None for no fall.

    Both are of the `smoothed` losses. The lowest may be a wide valley: its last rate counts, where
    the loss is within _VALLEY of the fall's depth of its minimum. A fall is one that is deeper than
    its noise, which is judged by how far the losses lie from the smoothed ones, and that ended: a
    loss still falling at the last rate has no lowest one.
    """
    lowest = int(np.argmin(smoothed))
    start = _start(losses)
    depth = start - smoothed[lowest]
    scatter = np.std((losses - smoothed)[: lowest + 1])
    # A Gaussian of width w averages like a window of 2 sqrt(pi) w steps.
    noise = scatter / np.sqrt(2 * np.sqrt(np.pi) * _WIDTH * len(losses))
    if not 2 <= lowest < len(losses) - 1 or depth <= _SURE * noise:
        return None
    # Before the fall there is only noise, and noise has its steepest place too.
    level = smoothed[: lowest + 1] > start - _PLATEAU * depth
    first = int(np.flatnonzero(level)[-1]) if level.any() else 0
    slope = np.gradient(smoothed, np.log(rates))[first : lowest + 1]
    # Along a valley noise decides where the minimum lies, over a decade and more.
    last = int(np.flatnonzero(smoothed <= smoothed[lowest] + _VALLEY * depth)[-1])
    return float(rates[first + int(np.argmin(slope))]), float(rates[last] / 10)


def _start(losses: Floats) -> float:
    """The loss before anything was learned: the mean of the first tenth."""
    return float(np.mean(losses[: _window(len(losses))]))


def _window(steps: int) -> int:
    return max(steps // 10, 3)


class _Rising(RateSchedule):
    """low * (high / low) ** t as a factor of the recipe's rate, t from 0 to 1 over the sweep."""

    limits: tuple[float, float] = (0.0, 0.0)

    def factor(self, epoch: float) -> float:
        low, high = self.limits
        return low * math.pow(high / low, epoch)


class _Watch:
    """Reads each step's mean loss and rates from the state that train_epoch keeps."""

    def __init__(self, state: TrainingState, *, window: int, advance: Callable[[], None]) -> None:
        self.state, self.window, self.advance = state, window, advance
        self.losses: list[float] = []
        self.rates: list[list[float]] = []
        self.lowest, self.diverged = np.inf, False
        self._sum, self._images = 0.0, 0

    def after_step(self) -> None:
        state = self.state
        state.settle()  # each step's loss decides whether there is another
        images = state.images - self._images
        if images == 0:  # nothing finite in it
            self.diverged = True
            return
        self.losses.append((state.loss_sum - self._sum) / images)
        self.rates.append([group["lr"] for group in state.optimizer.param_groups])
        self._sum, self._images = state.loss_sum, state.images
        self.advance()
        if len(self.losses) >= self.window:
            recent = float(np.mean(self.losses[-self.window :]))
            self.lowest = min(self.lowest, recent)
            self.diverged = recent > DIVERGED * self.lowest

    def until_diverged(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        for batch in batches:
            if self.diverged:
                return
            yield batch


def _fresh_state(
    recipe: Recipe, data: FoldData, *, device: torch.device, imagenet: Path, low: float, high: float
) -> TrainingState:
    model = recipe.model
    classifier: Classifier = make_classifier(
        model.backbone,
        outputs=recipe.outputs,
        dropout=model.dropout,
        head=model.head,
        pooling=model.pooling,
        dropout_samples=model.dropout_samples,
        frozen_stages=model.frozen_stages,
        auxiliary=len(auxiliary_values(recipe, data)),
        class_shares=shown_shares(recipe, data),
    )
    load_start(classifier.backbone, recipe, data, imagenet=imagenet, folder=None)
    state = start_state(
        classifier.to(device).to(memory_format=torch.channels_last),
        recipe,
        precision=resolve_precision(recipe.training.precision, device),
        device=device,
    )
    rising = _Rising(recipe.schedule, epochs=1)
    rate = state.plan.optimizer.rate  # of the first stage, where there are stages
    rising.limits = (low / rate, high / rate)
    state.schedule, state.average = rising, None
    return state


def _plan_steps(recipe: Recipe, data: FoldData, steps: int) -> list[Plan]:
    """The batches of `steps` optimizer steps: as many epochs as that takes."""
    plans: list[Plan] = []
    epoch, closed = 0, 0
    while closed < steps:
        more = plan_fold(recipe, data, seed=(recipe.seed, data.fold, epoch))
        for plan in more:
            if closed < steps:
                plans.append(plan)
                closed += plan.closes
        epoch += 1
    return plans


def _batches(
    recipe: Recipe, data: FoldData, plans: list[Plan], device: torch.device
) -> Iterator[Batch]:
    seed = (recipe.seed, data.fold, 0)
    loaded = load_batches(
        row_source(data),
        plans,
        workers=resolve_workers(recipe.training.workers, device),
        augmentation=make_augmentation(recipe),
        seed=seed,
    )
    batches = augment_batches(loaded, device)
    if recipe.training.mix is None:
        return batches
    targets = batch_targets(recipe, data)
    return mix_batches(batches, targets, recipe.training.mix, seed=seed, start=0)


def _conclude(watch: _Watch) -> RateSweep:
    # Groups differ by stage and by decay; those of the head are the highest.
    by_step, losses = np.array(watch.rates), np.array(watch.losses)
    names = [str(group["name"]) for group in watch.state.optimizer.param_groups]
    rates, smoothed = by_step.max(axis=1), smooth_losses(losses)
    steepest, tenth = suggest_rates(rates, losses, smoothed) or (None, None)
    return RateSweep(
        rates,
        losses,
        smoothed,
        dict(zip(names, by_step.T, strict=True)),
        watch.diverged,
        steepest,
        tenth,
    )
