"""TorchMembers: the members on torch, the reference that the others equal."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from melanoma.data.images import Pixels
from melanoma.data.transforms import Normalize, to_tensor
from melanoma.devices import Device, as_torch, resolve_precision
from melanoma.errors import RecipeError, WeightsError
from melanoma.models.classifier import make_classifier
from melanoma.models.seed_mean import Network, SeedMean, make_network_faster, single_networks
from melanoma.models.undrawn import Undrawn
from melanoma.recipe.sections import Head
from melanoma.scoring.bundle.bundle import Bundle
from melanoma.scoring.explain.evidence import Evidence
from melanoma.scoring.explain.gradcam import map_evidence
from melanoma.scoring.members import Check, Logits, Outputs, go_on
from melanoma.training.epoch import predict_embedded, predict_logits
from melanoma.types import Floats


class TorchMembers:
    """Classifiers by fold on a device, in evaluation mode. Float32 is the reference."""

    backend = "torch"

    def __init__(
        self,
        networks: Mapping[int, Network],
        *,
        normalize: Normalize,
        device: Device,
        precision: torch.dtype = torch.float32,
    ) -> None:
        place = as_torch(device)
        self.networks = {fold: network.eval().to(place) for fold, network in networks.items()}
        self.normalize = normalize
        self._device, self._precision = place, precision
        self._faster: dict[torch.dtype, TorchMembers] = {}
        self._reference = self
        self._making = threading.Lock()

    @property
    def folds(self) -> tuple[int, ...]:
        """The members' folds, in the order of their logits."""
        return tuple(self.networks)

    @property
    def precision(self) -> str:
        """The type of their products."""
        return str(self._precision).removeprefix("torch.")

    def logits(self, squares: Pixels, *, views: int, check: Check = go_on) -> Logits:
        """(B, K, outputs), see Members."""
        images = self._images(squares)
        member_logits = []
        for network in self.networks.values():
            check()
            member_logits.append(predict_logits(network, images, views=views))
        return torch.stack(member_logits, dim=1).cpu().numpy().astype(np.float64)

    def outputs(self, squares: Pixels, *, views: int, check: Check = go_on) -> Outputs:
        """See Members; an embedding of D features."""
        images = self._images(squares)
        member_outputs = []
        for network in self.networks.values():
            check()
            member_outputs.append(predict_embedded(network, images, views=views))
        logits, embeddings = (
            torch.stack(part, dim=1).cpu().numpy() for part in zip(*member_outputs, strict=True)
        )
        return Outputs(logits.astype(np.float64), embeddings)

    def heat(self, square: Pixels, evidence: Evidence) -> list[Floats]:
        """See Members; by gradients, of the networks in float32."""
        if self._reference is not self:
            return self._reference.heat(square, evidence)
        image = to_tensor(square[None], normalize=self.normalize, device=self._device)
        networks = [one for network in self.networks.values() for one in single_networks(network)]
        return [map_evidence(one, image, evidence=evidence.of_logits) for one in networks]

    def alone(self) -> list[TorchMembers]:
        """Each member by itself, on the same network."""
        members = [self._with({fold: one}) for fold, one in self.networks.items()]
        for one, of in zip(members, self._references(), strict=True):
            one._reference = of or one
        return members

    def faster(self) -> TorchMembers:
        """Fused networks in the device's fast precision, made once and kept."""
        return self.in_precision(resolve_precision("auto", self._device))

    def in_precision(self, precision: torch.dtype) -> TorchMembers:
        """Fused networks whose products are of that precision, made once and kept."""
        if self._reference is not self:
            return self._reference.in_precision(precision)
        with self._making:
            if precision not in self._faster:
                fused = {f: make_network_faster(one, precision) for f, one in self.networks.items()}
                self._faster[precision] = self._with(fused, precision)
                self._faster[precision]._reference = self
            return self._faster[precision]

    def reference(self) -> TorchMembers:
        """Those that these were made of, or themselves."""
        return self._reference

    def _references(self) -> list[TorchMembers | None]:
        """Of each member alone; None where it is its own."""
        if self._reference is self:
            return [None] * len(self.networks)
        return [*self._reference.alone()]

    def _images(self, squares: Pixels) -> torch.Tensor:
        images = to_tensor(squares, normalize=self.normalize, device=self._device)
        return images.to(self._precision)

    def _with(
        self, networks: Mapping[int, Network], precision: torch.dtype | None = None
    ) -> TorchMembers:
        return TorchMembers(
            networks,
            normalize=self.normalize,
            device=self._device,
            precision=precision or self._precision,
        )


def load_members(bundle: Bundle, device: Device) -> TorchMembers:
    """The bundle's networks. Raises WeightsError for weights that cannot be them."""
    networks = {
        member.fold: load_network(
            member.file,
            bundle.backbone,
            outputs=bundle.outputs,
            head=bundle.head,
            seeds=bundle.seeds,
        )
        for member in bundle.members
    }
    return TorchMembers(networks, normalize=bundle.normalize, device=device)


def load_network(
    file: Path, backbone: str, *, outputs: int, head: Head | None = None, seeds: int = 1
) -> Network:
    """A member's network, or `seeds` of them whose logits are averaged, in evaluation mode.

    Raises WeightsError for weights that cannot be it, or of a backbone that is not known here.
    """
    try:
        weights = load_file(file)
        pooling = "gem" if any(name.endswith("gem.p") for name in weights) else "mean"
        with Undrawn():
            made = [
                make_classifier(backbone, outputs=outputs, head=head, pooling=pooling)
                for _ in range(seeds)
            ]
        classifier = SeedMean(made) if seeds > 1 else made[0]
        classifier.load_state_dict(weights)
    except RecipeError as error:  # of a later version, or without timm
        raise WeightsError(
            f"{file} holds a {backbone}, which is not known here ({error})"
        ) from error
    except (SafetensorError, RuntimeError, OSError) as error:
        raise WeightsError(
            f"{file} does not hold a {backbone}: {' '.join(str(error).split())[:200]}"
        ) from error
    if not all(map(_is_finite, weights.values())):
        raise WeightsError(f"{file} holds weights that are not finite")
    return classifier.eval().to(memory_format=torch.channels_last)


def _is_finite(weights: torch.Tensor) -> bool:
    # The sum alone tells it at an eighth of the cost, but for one that is too large to be said.
    return bool(torch.isfinite(weights.sum())) or bool(torch.isfinite(weights).all())
