"""TrainingState: everything that training changes, in one record that is saved and restored."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from melanoma.models.classifier import Classifier, parameter_groups
from melanoma.recipe.recipe import Recipe
from melanoma.recipe.sections import StagePlan
from melanoma.training.lion import Lion
from melanoma.training.readings import Reading
from melanoma.training.schedule import EarlyStopping, RateSchedule

Weights = dict[str, Tensor]
_COUNTERS = (
    "stage",
    "stage_start",
    "epoch",
    "batch",
    "loss_sum",
    "images",
    "skipped",
    "bad_in_row",
    "restored",
    "rate_scale",
    "seconds",
)


@dataclass
class TrainingState:
    """Position, weights, optimizer, averages, history. `batch` counts within the epoch.

    `optimizer` and `schedule` are those of the `stage`, which began with epoch `stage_start`.
    """

    classifier: Classifier
    recipe: Recipe
    stopping: EarlyStopping
    scaler: torch.amp.GradScaler
    average: AveragedModel | None = None
    stage: int = 0
    stage_start: int = 0
    epoch: int = 0
    batch: int = 0
    loss_sum: float = 0.0
    images: int = 0  # with a finite loss, this epoch
    skipped: int = 0  # optimizer steps left out for non-finite numbers, this epoch
    bad_in_row: int = 0
    restored: bool = False
    rate_scale: float = 1.0  # halved when training was restored after it diverged
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)
    best_weights: Weights = field(default_factory=dict)
    readings: deque[Reading] = field(default_factory=deque)  # of steps not counted yet
    last_rows: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    optimizer: torch.optim.Optimizer = field(init=False)
    schedule: RateSchedule = field(init=False)

    def __post_init__(self) -> None:
        self._enter(self.stage)

    @property
    def plan(self) -> StagePlan:
        """The stage that it is in."""
        return self.recipe.stage_plans[self.stage]

    @property
    def is_over(self) -> bool:
        """Whether the last stage had its epochs, or was stopped."""
        return self._stage_is_over and self.stage == len(self.recipe.stage_plans) - 1

    @property
    def _stage_is_over(self) -> bool:
        return self.epoch - self.stage_start >= self.plan.epochs or self.stopping.stopped

    @property
    def _groups(self) -> list[dict[str, Any]]:
        return self.optimizer.param_groups

    @property
    def scored_model(self) -> Classifier:
        """The weights that are validated and kept: the average where the recipe has one."""
        if self.average is None:
            return self.classifier
        averaged = self.average.module
        assert isinstance(averaged, Classifier)
        return averaged

    def weights(self) -> Weights:
        """A copy of the scored model's weights, on the CPU."""
        state = self.scored_model.state_dict()
        return {
            key: value.detach().to("cpu", copy=True)
            for key, value in state.items()
            if not key.startswith("auxiliary.")  # of training alone
        }

    def set_rates(self, epochs_done: float) -> None:
        """Give every group its rate at this time, in epochs."""
        factor = self.schedule.factor(epochs_done - self.stage_start) * self.rate_scale
        for group in self._groups:
            group["lr"] = group["highest_rate"] * factor

    def settle(self, *, leave: int = 0) -> None:
        """Count the losses of the steps that were not read yet, all but the last `leave`."""
        while len(self.readings) > leave:
            reading = self.readings.popleft()
            *losses, norm = reading.values()
            for loss, images in zip(losses, reading.sizes, strict=True):
                if math.isfinite(loss):  # else one batch would turn the epoch's mean into NaN
                    self.loss_sum += loss * images
                    self.images += images
            finite = all(map(math.isfinite, (*losses, norm)))
            self.bad_in_row = 0 if finite else self.bad_in_row + 1
            self.skipped += not finite
            self.last_rows = reading.rows

    def epoch_record(
        self, fold: int, metrics: Mapping[str, Any], *, is_best: bool
    ) -> dict[str, Any]:
        """The epoch's line of metrics.jsonl; `metrics` are the validation's."""
        return {
            "fold": fold,
            "epoch": self.epoch + 1,
            "stage": self.stage + 1,
            "loss": self.loss_sum / self.images if self.images else math.nan,
            **metrics,
            "best": is_best,
            "skipped_steps": self.skipped,
            "rates": sorted({group["lr"] for group in self._groups}),
            "seconds": round(self.seconds, 3),
            "images_per_second": round(self.images / max(self.seconds, 1e-9), 2),
        }

    def reached(self) -> dict[str, Any]:
        """Where a finished run ended, as fields of RunFacts."""
        return {
            "best_epoch": self.stopping.best_epoch + 1,
            "last_epoch": self.epoch,
            "seconds": round(sum(r["seconds"] for r in self.history), 1),
            "skipped_steps": sum(r["skipped_steps"] for r in self.history),
        }

    def next_epoch(self) -> None:
        """Start counting the next epoch."""
        self.epoch, self.batch = self.epoch + 1, 0
        self.loss_sum, self.images, self.skipped, self.seconds = 0.0, 0, 0, 0.0
        if self._stage_is_over and not self.is_over:
            # Early stopping ends its stage, not the run: the next one may still gain.
            self.stage_start = self.epoch
            self.stopping.begin_stage()
            self._enter(self.stage + 1)

    def _enter(self, stage: int) -> None:
        """Freeze or free the backbone; begin with a fresh optimizer and schedule."""
        plans = self.recipe.stage_plans
        if stage >= len(plans):
            raise ValueError(f"it is in stage {stage + 1} of {len(plans)}")
        self.stage, plan = stage, plans[stage]
        self.classifier.freeze_backbone(plan.frozen)
        if self.average is not None:  # what is scored and kept knows what is frozen, too
            self.scored_model.freeze_backbone(plan.frozen)
        self.optimizer = _make_optimizer(self.classifier, self.recipe.model.backbone, plan)
        self.schedule = RateSchedule(plan.schedule, plan.epochs)

    def to_dict(self) -> dict[str, Any]:
        """Plain tensors, numbers, lists and dicts, readable with weights_only=True."""
        self.settle()
        return {
            "counters": {name: getattr(self, name) for name in _COUNTERS},
            "history": self.history,
            "schedule": self.schedule.state(),
            "stopping": self.stopping.state(),
            "classifier": self.classifier.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "optimizer_name": type(self.optimizer).__name__,
            "scaler": self.scaler.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "best_weights": self.best_weights,
            "rng": torch.get_rng_state(),
            "rng_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Take up a state that to_dict gave, random generators included.

        What a recipe states (rates, decay, patience) stays this recipe's. Raises ValueError or
        RuntimeError when the state is another network's or optimizer's.
        """
        if saved["optimizer_name"] != type(self.optimizer).__name__:
            raise ValueError(f"it was trained by {saved['optimizer_name']}")
        if (saved["average"] is None) != (self.average is None):
            raise ValueError("only one of them averages its weights")
        self.readings.clear()
        self._enter(saved["counters"]["stage"])
        for name, value in saved["counters"].items():
            setattr(self, name, value)
        self.history = saved["history"]
        self.schedule.restore(saved["schedule"])
        self.stopping.restore(saved["stopping"])
        self.classifier.load_state_dict(saved["classifier"])
        stated = [
            {key: value for key, value in group.items() if key not in ("params", "lr")}
            for group in self._groups
        ]
        self.optimizer.load_state_dict(saved["optimizer"])
        for group, own in zip(self._groups, stated, strict=True):
            group.update(own)
        self.scaler.load_state_dict(saved["scaler"])
        if self.average is not None:
            self.average.load_state_dict(saved["average"])
        self.best_weights = saved["best_weights"]
        torch.set_rng_state(saved["rng"])
        if saved["rng_cuda"] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(saved["rng_cuda"])


def start_state(
    classifier: Classifier, recipe: Recipe, *, precision: torch.dtype, device: torch.device
) -> TrainingState:
    """The state before the first batch."""
    average = None
    if recipe.training.ema_decay is not None:
        average = AveragedModel(
            classifier, multi_avg_fn=_warm_average(recipe.training.ema_decay), use_buffers=True
        )
    return TrainingState(
        classifier,
        recipe,
        EarlyStopping.by(recipe.selection),
        # Only half precision can underflow; bfloat16 has float32's exponents.
        torch.amp.GradScaler(device.type, enabled=precision == torch.float16),
        average,
    )


def _make_optimizer(
    classifier: Classifier, backbone: str, plan: StagePlan
) -> torch.optim.Optimizer:
    rules = plan.optimizer
    groups = parameter_groups(
        classifier,
        backbone,
        rate=rules.rate,
        weight_decay=rules.weight_decay,
        depth_decay=rules.depth_decay,
        backbone_ratio=rules.backbone_ratio,
    )
    for group in groups:
        group["highest_rate"] = group["lr"]
    match rules.name:
        case "adam":
            return torch.optim.Adam(groups, fused=True)
        case "adamw":
            return torch.optim.AdamW(groups, fused=True)
        case "lion":
            return Lion(groups)
        case "sgd":
            return torch.optim.SGD(groups, momentum=0.9, nesterov=True, fused=True)


def _warm_average(decay: float) -> Any:
    """Exponential average whose memory grows with the run: decay is at most (1 + n) / (10 + n)."""

    @torch.no_grad()
    def average(averages: Sequence[Tensor], current: Sequence[Tensor], count: Tensor) -> None:
        steps = float(count)
        weight = 1 - min(decay, (1 + steps) / (10 + steps))
        if averages[0].is_floating_point():
            torch._foreach_lerp_(list(averages), list(current), weight)
        else:
            torch._foreach_copy_(list(averages), list(current))

    return average
