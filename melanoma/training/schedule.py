"""Learning rates over time, and when to stop: plain arithmetic that can be saved and resumed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from melanoma.recipe.sections import Schedule as Rules
from melanoma.recipe.sections import Selection

# (share of the run done, rules, epochs) -> factor of the highest rate.
Curve = Callable[[float, Rules, int], float]


def _cosine(done: float, rules: Rules, epochs: int) -> float:
    warmup = rules.warmup_epochs / epochs
    if done < warmup:
        return _rising(done / warmup)
    falling = (done - warmup) / (1 - warmup)
    return rules.final_share + (1 - rules.final_share) * (1 + math.cos(math.pi * falling)) / 2


def _rising(done: float) -> float:
    # From a tenth, as the 2020 winner warmed up.
    return 0.1 + 0.9 * done


def _one_cycle(done: float, rules: Rules, epochs: int) -> float:
    """Smith's 1cycle with cosine arcs: up from 1/25 over 30 % of the run, then down."""
    rise = rules.warmup_epochs / epochs or 0.3
    if done < rise:
        return 1 / 25 + (1 - 1 / 25) * (1 - math.cos(math.pi * done / rise)) / 2
    falling = (done - rise) / (1 - rise)
    return rules.final_share + (1 - rules.final_share) * (1 + math.cos(math.pi * falling)) / 2


def _step(done: float, rules: Rules, epochs: int) -> float:
    # The small term keeps a whole epoch whole in floating point.
    return rules.factor ** int(done * epochs / rules.every + 1e-9)


def _constant(done: float, rules: Rules, epochs: int) -> float:
    return 1.0


CURVES: dict[str, Curve] = {
    "cosine": _cosine,
    "one_cycle": _one_cycle,
    "step": _step,
    "constant": _constant,
    "plateau": _constant,  # falls by what it observes, see RateSchedule.observe
}
_OWN_RISE = ("cosine", "one_cycle")  # their arcs begin where the warm-up ends


@dataclass
class RateSchedule:
    """The factor on every group's rate; `observe` is told each epoch's metric, higher better.

    A warm-up rises in a line from a tenth, under whatever the curve says; its epochs count as any
    other for plateau and step.
    """

    rules: Rules
    epochs: int
    best: float = -math.inf
    waited: int = 0
    drops: int = 0

    def factor(self, epoch: float) -> float:
        """In (0, 1], at a time in epochs (fractions between batches)."""
        rules, done = self.rules, min(epoch / self.epochs, 1.0)
        curve = CURVES[rules.name](done, rules, self.epochs)
        if rules.name not in _OWN_RISE and epoch < rules.warmup_epochs:
            curve *= _rising(epoch / rules.warmup_epochs)
        return curve * rules.factor**self.drops

    def observe(self, metric: float) -> None:
        """Plateau: after more than `patience` epochs without `threshold` better, drop once.

        The same rule as torch's ReduceLROnPlateau with the same threshold_mode.
        """
        if self.rules.name != "plateau":
            return
        least = self.rules.threshold
        if self.rules.threshold_mode == "rel":  # of a loss too, which comes here negative
            to_beat = self.best * (1 + math.copysign(least, self.best))
        else:
            to_beat = self.best + least
        if metric > to_beat:
            self.best, self.waited = metric, 0
        else:
            self.waited += 1
        if self.waited > self.rules.patience:
            self.drops, self.waited = self.drops + 1, 0

    def state(self) -> dict[str, Any]:
        """What `restore` needs."""
        return {"best": self.best, "waited": self.waited, "drops": self.drops}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a saved state."""
        self.best, self.waited, self.drops = state["best"], state["waited"], state["drops"]


@dataclass
class EarlyStopping:
    """Which epoch is best so far, and whether to go on."""

    patience: int | None
    min_delta: float
    best: float = -math.inf
    best_epoch: int = -1
    waited: int = 0

    @classmethod
    def by(cls, rules: Selection) -> EarlyStopping:
        """As the recipe's selection section says."""
        return cls(rules.patience, rules.min_delta)

    def observe(self, epoch: int, metric: float) -> bool:
        """True when this epoch is the best by more than min_delta."""
        if metric > self.best + self.min_delta:
            self.best, self.best_epoch, self.waited = metric, epoch, 0
            return True
        self.waited += 1
        return False

    @property
    def stopped(self) -> bool:
        """Whether `patience` epochs went by without a better one."""
        return self.patience is not None and self.waited >= self.patience

    def begin_stage(self) -> None:
        """Wait anew, for what came before may be best for long; the best epoch stays the best."""
        self.waited = 0

    def state(self) -> dict[str, Any]:
        """What `restore` needs."""
        return {"best": self.best, "best_epoch": self.best_epoch, "waited": self.waited}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a saved state."""
        self.best, self.best_epoch = state["best"], state["best_epoch"]
        self.waited = state["waited"]
