"""Losses for rare classes, besides weights: asymmetric, poly-1 and label-distribution-aware margin.

None is a proper score: what they do to the probabilities, the calibration mends.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from melanoma.models.loss_inputs import binary_inputs, class_inputs

_LEAST = 1e-8  # of what is raised to a power below 1, whose slope at 0 has no end


def binary_asymmetric(
    logits: Tensor,
    targets: Tensor,
    *,
    positive_weight: float,
    label_smoothing: float,
    gamma_positive: float = 0.0,
    gamma_negative: float = 4.0,
    margin: float = 0.05,
) -> Tensor:
    """Mean asymmetric loss: (1 - p) ** gamma_positive * -ln p for positives, and
    q ** gamma_negative * -ln(1 - q), q = max(p - margin, 0), for negatives.

    Easy negatives, p up to the margin, count nothing. Ridnik et al., Asymmetric Loss for
    Multi-Label Classification, ICCV 2021. Raises as binary_cross_entropy does.
    """
    x, y = binary_inputs(logits, targets, label_smoothing)
    positive = positive_weight * (gamma_positive * F.logsigmoid(-x)).exp() * F.softplus(-x)
    if margin == 0:
        negative = (gamma_negative * F.logsigmoid(x)).exp() * F.softplus(x)
    else:
        shifted = x.sigmoid() - margin
        cost = -(1 - shifted).clamp(max=1.0).log()
        negative = shifted.clamp(min=_LEAST) ** gamma_negative * cost
    return (y * positive + (1 - y) * negative).mean()


def binary_poly(
    logits: Tensor,
    targets: Tensor,
    *,
    positive_weight: float,
    label_smoothing: float,
    epsilon: float = 1.0,
) -> Tensor:
    """Mean of cross-entropy + epsilon * (1 - p), p being the true class's probability.

    Leng et al., PolyLoss, ICLR 2022 (Poly-1). Raises as binary_cross_entropy does.
    """
    x, y = binary_inputs(logits, targets, label_smoothing)
    positive = positive_weight * (F.softplus(-x) + epsilon * (-x).sigmoid())
    negative = F.softplus(x) + epsilon * x.sigmoid()
    return (y * positive + (1 - y) * negative).mean()


def poly(
    logits: Tensor,
    targets: Tensor,
    *,
    class_weights: Tensor | None,
    label_smoothing: float,
    epsilon: float = 1.0,
) -> Tensor:
    """Mean of cross-entropy + epsilon * (1 - p) over softmax; see binary_poly.

    Raises as cross_entropy does.
    """
    x, y = class_inputs(logits, targets)
    aim = _aims(x, y, class_weights, label_smoothing)
    return (aim * (epsilon * (1 - x.softmax(dim=1)) - x.log_softmax(dim=1))).sum(dim=1).mean()


def binary_margin(
    logits: Tensor,
    targets: Tensor,
    *,
    positive_weight: float,
    label_smoothing: float,
    class_counts: Sequence[int] | None = None,
    margin: float = 0.5,
) -> Tensor:
    """Mean cross-entropy of logits from which the true class's margin was taken; see class_margin.

    Raises as binary_cross_entropy does.
    """
    x, y = binary_inputs(logits, targets, label_smoothing)
    negatives, positives = _margins(class_counts, margin, classes=2)
    positive = positive_weight * F.softplus(positives - x)
    return (y * positive + (1 - y) * F.softplus(x + negatives)).mean()


def class_margin(
    logits: Tensor,
    targets: Tensor,
    *,
    class_weights: Tensor | None,
    label_smoothing: float,
    class_counts: Sequence[int] | None = None,
    margin: float = 0.5,
) -> Tensor:
    """Mean cross-entropy of logits from which each class, where it is the true one, has its margin
    taken: `margin` for the rarest, and for others * (images of the rarest / its images) ** 1/4.

    Cao et al., LDAM, NeurIPS 2019, on logits of any scale (theirs are cosines times 30). Without
    `class_counts` all are alike. Raises as cross_entropy does.
    """
    x, y = class_inputs(logits, targets)
    margins = x.new_tensor(_margins(class_counts, margin, classes=x.shape[1]))
    aim = _aims(x, y, class_weights, label_smoothing)
    # A smoothed target aims at every class a little: each part is judged with its own margin.
    less = x[:, None, :] - torch.diag(margins)
    own = less.log_softmax(dim=2).diagonal(dim1=1, dim2=2)
    return -(aim * own).sum(dim=1).mean()


def _margins(counts: Sequence[int] | None, margin: float, *, classes: int) -> list[float]:
    if counts is None:
        return [margin] * classes
    rarest = max(min(counts), 1)
    return [float(margin * (rarest / max(count, 1)) ** 0.25) for count in counts]


def _aims(x: Tensor, y: Tensor, weights: Tensor | None, smoothing: float) -> Tensor:
    """(B, C): how much each class's term counts."""
    classes = x.shape[1]
    aim = F.one_hot(y, classes) * (1 - smoothing) + smoothing / classes
    return aim if weights is None else aim * weights
