"""The members' networks of torch as OpenVINO's models."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from melanoma.data.transforms import linear_scaling
from melanoma.models.backbone_records import PooledBackbone
from melanoma.models.seed_mean import Network, single_networks
from melanoma.scoring.backends.core import import_openvino
from melanoma.scoring.backends.exact_stem import keep_stem_exact
from melanoma.scoring.backends.torch_members import TorchMembers


def from_torch(members: TorchMembers, *, size: int) -> dict[int, Any]:
    """The networks of torch as OpenVINO's models, by fold.

    Their outputs are logits and embeddings, and the feature maps (B, C, h, w) of each network whose
    embedding is their average.
    """
    openvino = import_openvino()
    squares = torch.zeros((2, size, size, 3), dtype=torch.uint8)
    shape = openvino.PartialShape([-1, size, size, 3])
    models = {}
    for fold, network in members.networks.items():
        # The trace is torch's own way to other formats still; its successor takes six times as
        # long. Unchecked: the golden score checks more than a second trace does.
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            wrapped = _FromSquares(network, members).eval()
            traced = torch.jit.trace(  # type: ignore[no-untyped-call]
                wrapped, squares, check_trace=False
            )
            model = openvino.convert_model(traced, example_input=squares, input=[shape])
        models[fold] = keep_stem_exact(model)
    return models


class _FromSquares(nn.Module):
    """A network that takes the squares as they are, and gives what its logits are made of too."""

    def __init__(self, network: Network, members: TorchMembers) -> None:
        super().__init__()
        self.network = network
        # A product and a sum, which OpenVINO keeps in float32 where a stem is marked: of the
        # difference and the quotient that they come to it makes others, without the mark.
        self._factor, self._offset = linear_scaling(members.normalize)
        singles = single_networks(network)
        # Of a generalized mean places of more count more: its slopes are not one a map.
        self._averaged = not any(
            one.gem is not None or isinstance(one.backbone, PooledBackbone) for one in singles
        )

    def forward(self, squares: Tensor) -> tuple[Tensor, ...]:
        """(B, S, S, 3) uint8 to (B, outputs), (B, D) and, where D are averages, the maps."""
        images = squares.permute(0, 3, 1, 2).float() * self._factor + self._offset
        singles = single_networks(self.network)
        features = [one.backbone(images) for one in singles]
        parts = [one.pool(maps) for one, maps in zip(singles, features, strict=True)]
        embeddings = torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]
        logits = self.network.classify(embeddings)
        more = [maps.float() for maps in features] if self._averaged else []
        return logits.float(), embeddings.float(), *more
