"""Evidence: the one number of a network's logits that an explanation is about, and how it changes
with the embedding. Without torch: a head is a few small matrices.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors import safe_open
from scipy.special import erf, expit, softmax

from melanoma.recipe.sections import Head
from melanoma.types import Floats

if TYPE_CHECKING:
    from torch import Tensor

_LAYER = re.compile(r"(?:networks\.(\d+)\.)?head\.(?:(\d+)\.)?weight")


@dataclass(frozen=True)
class Evidence:
    """`sign` times the logarithm of the sum of the columns' exponentials: of one column, itself."""

    columns: tuple[int, ...]
    sign: float = 1.0

    def of_logits(self, logits: Tensor) -> Tensor:
        """The number of (1, outputs), for torch's gradients."""
        return self.sign * logits[0, list(self.columns)].logsumexp(0)

    def slopes(self, logits: Floats) -> Floats:
        """(outputs,): how it changes with each of the logits, (outputs,)."""
        gradient = np.zeros_like(logits)
        gradient[list(self.columns)] = self.sign * softmax(logits[list(self.columns)])
        return gradient


@dataclass(frozen=True)
class PlainHead:
    """A head's linear layers, weights (out, in) and biases (out,), with `activation` between."""

    layers: tuple[tuple[Floats, Floats], ...]
    activation: str = "relu"

    def slopes(self, embedding: Floats, evidence: Evidence) -> Floats:
        """(D,): how the evidence changes with each feature of the embedding, (D,)."""
        values, bent = embedding, []
        for weights, bias in self.layers[:-1]:
            values, slope = _bend(weights @ values + bias, self.activation)
            bent.append(slope)
        weights, bias = self.layers[-1]
        gradient = evidence.slopes(weights @ values + bias) @ weights
        for (weights, _), slope in zip(self.layers[-2::-1], reversed(bent), strict=True):
            gradient = (gradient * slope) @ weights
        return gradient


def read_heads(file: Path, head: Head | None) -> tuple[PlainHead, ...]:
    """The heads of a member's networks, one a seed, of its safetensors."""
    with safe_open(file, framework="numpy") as weights:
        names = [match for name in weights.keys() if (match := _LAYER.fullmatch(name))]  # noqa: SIM118
        order = sorted(names, key=lambda match: (int(match[1] or 0), int(match[2] or 0)))
        by_network: dict[int, list[tuple[Floats, Floats]]] = {}
        for match in order:
            layer = [
                weights.get_tensor(match[0].removesuffix("weight") + part).astype(np.float64)
                for part in ("weight", "bias")
            ]
            by_network.setdefault(int(match[1] or 0), []).append((layer[0], layer[1]))
    activation = head.activation if head else "relu"
    return tuple(PlainHead(tuple(layers), activation) for layers in by_network.values())


def map_of(features: Floats, slopes: Floats) -> Floats:
    """(h, w) in [0, 1] of feature maps (C, h, w) that are averaged: where most speaks for the
    evidence, which changes by `slopes`, (C,); all 0 where nothing does."""
    heat = np.maximum(np.tensordot(slopes, features, axes=1), 0)
    highest = heat.max()
    return np.asarray(heat / highest if highest > 0 else heat)


def _bend(values: Floats, activation: str) -> tuple[Floats, Floats]:
    """The activation of the values, and its slope there."""
    if activation == "relu":
        return np.maximum(values, 0), (values > 0).astype(np.float64)
    if activation == "silu":
        share = expit(values)
        return values * share, share * (1 + values * (1 - share))
    share = (1 + erf(values / np.sqrt(2))) / 2
    density = np.exp(-(values**2) / 2) / np.sqrt(2 * np.pi)
    return values * share, share + values * density
