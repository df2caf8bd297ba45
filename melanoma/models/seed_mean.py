"""SeedMean: networks of one fold that differ by their seed, answering with their mean logit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn

from melanoma.models.classifier import Classifier, make_faster


class SeedMean(nn.Module):
    """(B, 3, S, S) to the mean of the networks' (B, outputs) logits, as views are averaged."""

    def __init__(self, networks: Sequence[Classifier]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def embed(self, images: Tensor) -> Tensor:
        """(B, networks * D): the networks' embeddings side by side."""
        return torch.cat([network.embed(images) for network in single_networks(self)], dim=1)

    def classify(self, embeddings: Tensor) -> Tensor:
        """(B, outputs) mean logits, float32, of what `embed` gave."""
        networks = single_networks(self)
        parts = embeddings.chunk(len(networks), dim=1)
        logits = [one.classify(part).float() for one, part in zip(networks, parts, strict=True)]
        return torch.stack(logits).mean(dim=0)

    def forward(self, images: Tensor) -> Tensor:
        """The mean logits, float32."""
        return self.classify(self.embed(images))


Network: TypeAlias = Classifier | SeedMean


def single_networks(network: Network) -> list[Classifier]:
    """The network itself, or those that a SeedMean averages."""
    if isinstance(network, Classifier):
        return [network]
    return [one for one in network.networks if isinstance(one, Classifier)]


def make_network_faster(network: Network, precision: torch.dtype) -> Network:
    """make_faster, of each network of a SeedMean."""
    if isinstance(network, Classifier):
        return make_faster(network, precision)
    return SeedMean([make_faster(one, precision) for one in single_networks(network)]).eval()
