"""Members: the networks of a bundle, whatever runs them. Squares in, logits out, by member."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from melanoma.data.images import Pixels
from melanoma.data.transforms import Normalize, to_tensor
from melanoma.devices import resolve_precision
from melanoma.errors import WeightsError
from melanoma.models.classifier import make_classifier
from melanoma.models.seed_mean import Network, SeedMean, make_network_faster
from melanoma.recipe.sections import Head
from melanoma.scoring.bundle.bundle import Bundle
from melanoma.training.epoch import predict_embedded, predict_logits

Logits: TypeAlias = npt.NDArray[np.float64]
MemberEmbeddings: TypeAlias = npt.NDArray[np.float32]


class Outputs(NamedTuple):
    """Of one pass through the members: their logits, (B, K, outputs), and their embeddings of the
    upright squares, (B, K, D) float32, from which those of the first view were made."""

    logits: Logits
    embeddings: MemberEmbeddings


class Members(Protocol):
    """The ensemble's networks behind one seam: a faster backend implements this and no more."""

    @property
    def backend(self) -> str:
        """What runs them, as people call it."""

    @property
    def precision(self) -> str:
        """The type of their products: float32, bfloat16 or float16."""

    @property
    def folds(self) -> tuple[int, ...]:
        """The members' folds, in the order of their logits."""

    def logits(self, squares: Pixels, *, views: int) -> Logits:
        """(B, K, outputs) of (B, S, S, 3) uint8 RGB: each member's mean over the first `views`
        symmetries, the prior shift still in it."""

    def outputs(self, squares: Pixels, *, views: int) -> Outputs:
        """The same logits, and the embeddings of the first view, of one pass."""

    def alone(self) -> Sequence[Members]:
        """Each member by itself."""

    def faster(self) -> Members:
        """The same members, equal up to rounding and not bit for bit: for many questions."""

    def reference(self) -> TorchMembers:
        """The same members on torch in float32, for what needs gradients."""


class TorchMembers:
    """Classifiers by fold on a device, in evaluation mode. Float32 is the reference."""

    backend = "torch"

    def __init__(
        self,
        networks: Mapping[int, Network],
        *,
        normalize: Normalize,
        device: torch.device,
        precision: torch.dtype = torch.float32,
    ) -> None:
        self.networks = {fold: network.eval().to(device) for fold, network in networks.items()}
        self.normalize = normalize
        self._device, self._precision = device, precision
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

    def logits(self, squares: Pixels, *, views: int) -> Logits:
        """(B, K, outputs), see Members."""
        images = self._images(squares)
        found = [predict_logits(one, images, views=views) for one in self.networks.values()]
        return torch.stack(found, dim=1).cpu().numpy().astype(np.float64)

    def outputs(self, squares: Pixels, *, views: int) -> Outputs:
        """See Members; an embedding of D features."""
        images = self._images(squares)
        found = [predict_embedded(one, images, views=views) for one in self.networks.values()]
        logits, embeddings = (
            torch.stack(part, dim=1).cpu().numpy() for part in zip(*found, strict=True)
        )
        return Outputs(logits.astype(np.float64), embeddings)

    def alone(self) -> list[TorchMembers]:
        """Each member by itself, on the same network."""
        found = [self._with({fold: one}) for fold, one in self.networks.items()]
        for one, of in zip(found, self._references(), strict=True):
            one._reference = of or one
        return found

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


class WatchedMembers:
    """Other members, one at a time, with `check` before each: what it raises ends the work."""

    def __init__(self, members: Members, check: Callable[[], None]) -> None:
        self._members, self._check = members, check
        self.backend, self.folds = members.backend, members.folds
        self.precision = members.precision

    def logits(self, squares: Pixels, *, views: int) -> Logits:
        """(B, K, outputs), see Members."""
        found = []
        for member in self._members.alone():
            self._check()
            found.append(member.logits(squares, views=views))
        return np.concatenate(found, axis=1)

    def outputs(self, squares: Pixels, *, views: int) -> Outputs:
        """See Members."""
        found = []
        for member in self._members.alone():
            self._check()
            found.append(member.outputs(squares, views=views))
        logits, embeddings = (np.concatenate(part, axis=1) for part in zip(*found, strict=True))
        return Outputs(logits, embeddings)

    def alone(self) -> list[WatchedMembers]:
        """Each member by itself, watched."""
        return [WatchedMembers(member, self._check) for member in self._members.alone()]

    def faster(self) -> WatchedMembers:
        """The faster ones, watched."""
        return WatchedMembers(self._members.faster(), self._check)

    def reference(self) -> TorchMembers:
        """Torch's, not watched."""
        return self._members.reference()


def load_members(bundle: Bundle, device: torch.device) -> TorchMembers:
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

    Raises WeightsError for weights that cannot be it.
    """
    made = [make_classifier(backbone, outputs=outputs, head=head) for _ in range(seeds)]
    classifier = SeedMean(made) if seeds > 1 else made[0]
    try:
        weights = load_file(file)
        classifier.load_state_dict(weights)
    except (SafetensorError, RuntimeError, OSError) as error:
        raise WeightsError(
            f"{file} does not hold a {backbone}: {' '.join(str(error).split())[:200]}"
        ) from error
    if not all(bool(torch.isfinite(w).all()) for w in weights.values()):
        raise WeightsError(f"{file} holds weights that are not finite")
    return classifier.eval().to(memory_format=torch.channels_last)
