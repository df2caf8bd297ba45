"""Losses on logits, in float32 whatever the model computed in."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from melanoma.errors import FoldError, RecipeError, suggest
from melanoma.models.imbalance_losses import (
    binary_asymmetric,
    binary_margin,
    binary_poly,
    class_margin,
    poly,
)
from melanoma.models.loss_inputs import binary_inputs, class_inputs

BETA = 0.999  # of effective_number


class BinaryLoss(Protocol):
    """Mean loss of logits (B, 1) against targets (B,) of 0 and 1."""

    def __call__(
        self, logits: Tensor, targets: Tensor, *, positive_weight: float, label_smoothing: float
    ) -> Tensor: ...


def binary_cross_entropy(
    logits: Tensor, targets: Tensor, *, positive_weight: float, label_smoothing: float
) -> Tensor:
    """Mean cross-entropy; the positive term counts `positive_weight` times.

    Smoothing s in [0, 1) moves targets to s/2 and 1 - s/2. Raises MelanomaError when logits are
    not (B, 1) for B > 0 targets.
    """
    x, y = binary_inputs(logits, targets, label_smoothing)
    return F.binary_cross_entropy_with_logits(x, y, pos_weight=x.new_full((), positive_weight))


def binary_focal(
    logits: Tensor,
    targets: Tensor,
    *,
    positive_weight: float,
    label_smoothing: float,
    gamma: float = 2.0,
) -> Tensor:
    """Mean focal loss: each term of the cross-entropy times (1 - its probability) ** gamma.

    Lin et al., Focal Loss for Dense Object Detection, 2017. It is no proper score: the logits
    are underconfident, and only the calibration mends them. Raises as binary_cross_entropy does.
    """
    x, y = binary_inputs(logits, targets, label_smoothing)
    # (1 - p) ** gamma through its logarithm: the power itself has no gradient where p is 1.
    positive = positive_weight * (gamma * F.logsigmoid(-x)).exp() * F.softplus(-x)
    negative = (gamma * F.logsigmoid(x)).exp() * F.softplus(x)
    return (y * positive + (1 - y) * negative).mean()


class ClassLoss(Protocol):
    """Mean loss of logits (B, C), C >= 2, against class numbers (B,); class_weights are (C,)."""

    def __call__(
        self,
        logits: Tensor,
        targets: Tensor,
        *,
        class_weights: Tensor | None,
        label_smoothing: float,
    ) -> Tensor: ...


def cross_entropy(
    logits: Tensor, targets: Tensor, *, class_weights: Tensor | None, label_smoothing: float
) -> Tensor:
    """Mean over the images of torch's weighted cross-entropy.

    Smoothing s in [0, 1) moves the target to 1 - s + s/C, the others to s/C. Raises MelanomaError
    when logits are not (B, C) for B > 0 targets.
    """
    x, y = class_inputs(logits, targets)
    # Not torch's mean, which divides by the batch's weights: a batch with a rare image would count
    # it less than its weight says, and log(weight) would not be what the logits are moved by.
    return F.cross_entropy(
        x, y, weight=class_weights, label_smoothing=label_smoothing, reduction="sum"
    ) / len(y)


def focal(
    logits: Tensor,
    targets: Tensor,
    *,
    class_weights: Tensor | None,
    label_smoothing: float,
    gamma: float = 2.0,
) -> Tensor:
    """Mean focal loss: each term of the cross-entropy times (1 - its probability) ** gamma.

    Lin et al., 2017, over softmax. Raises as cross_entropy does.
    """
    x, y = class_inputs(logits, targets)
    classes = x.shape[1]
    # log(1 - p) as the sum of the others' probabilities: 1 - p itself is 0 where p is nearly 1.
    own = torch.eye(classes, dtype=torch.bool, device=x.device)
    others = x[:, None, :].expand(-1, classes, -1).masked_fill(own, -math.inf).logsumexp(dim=2)
    hardness = (gamma * (others - x.logsumexp(dim=1, keepdim=True))).exp()
    aim = F.one_hot(y, classes) * (1 - label_smoothing) + label_smoothing / classes
    if class_weights is not None:
        aim = aim * class_weights
    return -(aim * hardness * x.log_softmax(dim=1)).sum(dim=1).mean()


@dataclass(frozen=True)
class LossEntry:
    """A loss by what it is for: `binary` takes one output, `several` takes two and more.

    `parameters` are the keywords of its functions that a recipe may give in loss.parameters, with
    the least and the largest value of each; the functions, a BinaryLoss and a ClassLoss with
    these keywords more, have the defaults. `counts` says that they take `class_counts` as well,
    the images of each class in the training part.
    """

    binary: Callable[..., Tensor] | None = None
    several: Callable[..., Tensor] | None = None
    parameters: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    counts: bool = False

    def fits(self, outputs: int) -> bool:
        """Whether it takes so many outputs."""
        return (self.binary if outputs == 1 else self.several) is not None


# Adding a loss is one function and one entry here; the tests run over them all.
LOSSES: dict[str, LossEntry] = {
    "bce": LossEntry(binary=binary_cross_entropy),
    "cross_entropy": LossEntry(several=cross_entropy),
    # At 0 it is the cross-entropy; beyond 10 a probability of 0.5 counts a thousandth.
    "focal": LossEntry(binary=binary_focal, several=focal, parameters={"gamma": (0.0, 10.0)}),
    # Of several classes exactly one is true, and with one true class it would be the focal loss.
    "asymmetric": LossEntry(
        binary=binary_asymmetric,
        parameters={
            "gamma_positive": (0.0, 10.0),
            "gamma_negative": (0.0, 10.0),
            "margin": (0.0, 0.5),
        },
    ),
    # Below -1 a wrong answer would be rewarded.
    "poly": LossEntry(binary=binary_poly, several=poly, parameters={"epsilon": (-1.0, 10.0)}),
    "margin": LossEntry(
        binary=binary_margin, several=class_margin, parameters={"margin": (0.0, 10.0)}, counts=True
    ),
}


def find_loss(name: str, parameters: Mapping[str, float], *, outputs: int) -> LossEntry:
    """The entry of that name. Raises RecipeError listing what fits so many outputs, for a
    parameter that it has not, or for one out of its range."""
    fitting = [other for other, entry in LOSSES.items() if entry.fits(outputs)]
    if name not in LOSSES:
        raise RecipeError(f"loss.name: unknown {name!r}; {suggest(name, fitting)}")
    if name not in fitting:
        plural = "output" if outputs == 1 else "outputs"
        known = ", ".join(fitting)
        raise RecipeError(f"loss.name: {name!r} does not fit {outputs} {plural}; fitting: {known}")
    entry = LOSSES[name]
    for key, value in parameters.items():
        if key not in entry.parameters:
            known = suggest(key, entry.parameters) if entry.parameters else f"{name} has none"
            raise RecipeError(f"loss.parameters.{key}: unknown parameter; {known}")
        least, most = entry.parameters[key]
        if not least <= value <= most:
            raise RecipeError(f"loss.parameters.{key}: from {least:g} to {most:g} (got {value:g})")
    return entry


def positive_weight(
    n_negative: int,
    n_positive: int,
    *,
    rule: Literal["ratio", "effective", "none"] | float,
    cap: float | None,
    beta: float = BETA,
) -> float:
    """The weight w of positives: N0/N1 of the training part (at most `cap`), the same of effective
    numbers (see effective_number), 1, or a number.

    A weighted loss moves every logit up by ln w, as if melanoma were w times as common; that
    prior is taken out again (logit - ln w) before calibration. Raises FoldError when a class is
    absent and RecipeError for a rule or cap that is no positive number.
    """
    if cap is not None and not (cap > 0 and math.isfinite(cap)):
        raise RecipeError(f"loss.cap: {cap} is not a positive number")
    if rule == "none":
        return 1.0
    if rule in ("ratio", "effective"):
        if n_negative < 1 or n_positive < 1:
            raise FoldError(
                f"the training part has {n_negative} negatives and {n_positive} positives; "
                f"loss.positive_weight={rule} needs both"
            )
        ratio = n_negative / n_positive
        if rule == "effective":
            ratio = effective_number(n_negative, beta) / effective_number(n_positive, beta)
        return ratio if cap is None else min(ratio, cap)
    weight = _number(rule)
    if not (weight > 0 and math.isfinite(weight)):
        raise RecipeError(
            f"loss.positive_weight: {rule!r} is not ratio, effective, none or a positive number"
        )
    return weight


def class_weights(
    counts: Sequence[int],
    *,
    rule: Literal["none", "balanced", "sqrt", "effective"],
    cap: float | None,
    beta: float = BETA,
) -> tuple[float, ...]:
    """The weight of each class, from its number of images in the training part.

    balanced: N / (C * N_c); sqrt: its square root; effective: 1 / its effective number. All with
    mean 1 over the training images, and only then at most `cap`. Raises FoldError when a class is
    absent.
    """
    if rule == "none":
        return (1.0,) * len(counts)
    if min(counts) < 1:
        raise FoldError(
            f"the training part has {', '.join(map(str, counts))} images of the classes; "
            f"loss.class_weight={rule} needs some of each"
        )
    weigh: dict[str, Callable[[int], float]] = {
        "balanced": lambda count: 1 / count,
        "sqrt": lambda count: count**-0.5,
        "effective": lambda count: 1 / effective_number(count, beta),
    }
    raw = [weigh[rule](count) for count in counts]
    # For balanced this is N / (C * N_c) itself.
    mean = sum(c * w for c, w in zip(counts, raw, strict=True)) / sum(counts)
    return tuple(min(w / mean, math.inf if cap is None else cap) for w in raw)


def effective_number(count: int, beta: float) -> float:
    """(1 - beta ** count) / (1 - beta): how many images there are that do not repeat each other.

    Cui et al., Class-Balanced Loss, CVPR 2019; from 1 (beta 0) to the count (beta near 1).
    """
    return -math.expm1(count * math.log(beta)) / (1 - beta) if beta > 0 else 1.0


def _number(rule: object) -> float:
    return float(rule) if isinstance(rule, int | float) else math.nan
