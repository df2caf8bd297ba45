"""OpenVinoMembers: the members on OpenVINO, on the processor's cores.

Only here do its threads start, behind those that answer; part_runner.py shares the work among them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from melanoma.data.images import Pixels
from melanoma.data.symmetries import dihedral_squares
from melanoma.devices import CPU, count_cores, has_bfloat16, step_back
from melanoma.errors import WeightsError
from melanoma.scoring.backends.common_layers import Networks
from melanoma.scoring.backends.conversion import openvino_models
from melanoma.scoring.backends.part_runner import PartRunner, compile_networks
from melanoma.scoring.bundle.bundle import Bundle, load_bundle
from melanoma.scoring.explain.evidence import Evidence, PlainHead, map_of, read_heads
from melanoma.scoring.members import Check, Logits, Outputs, go_on
from melanoma.types import Floats

if TYPE_CHECKING:
    from melanoma.scoring.backends.torch_members import TorchMembers

# They only multiply, and go behind whoever holds Python's lock: pushed aside by them, he would keep
# the loop of a service waiting. What answers many questions has it twice: scores go first.
_NICENESS = 5

Made = TypeVar("Made")


class OpenVinoMembers:
    """Models (openvino_models), compiled for this processor in float32 or bfloat16.

    `heads` are those of each fold's networks. `load` gives torch's members where they are asked
    for: by nothing that a service does, but where a network's features are no plain average.
    """

    backend = "openvino"

    def __init__(
        self,
        models: Networks,
        *,
        load: Callable[[], TorchMembers],
        heads: Mapping[int, Sequence[PlainHead]] | None = None,
        precision: str = "float32",
        threads: int | None = None,
    ) -> None:
        self.precision = precision
        self._load, self._heads = load, heads or {}
        self._models, self._threads = models, threads or count_cores()
        # Their threads are started here, and behind those that answer.
        compiled = _behind(lambda: compile_networks(models, precision, self._threads))
        self._run = PartRunner(compiled, self._threads)
        self._faster: OpenVinoMembers | None = None
        self._reference: TorchMembers | None = None
        self._making, self._loading = threading.Lock(), threading.Lock()

    @property
    def folds(self) -> tuple[int, ...]:
        """The members' folds, in the order of their logits."""
        return tuple(self._models.by_fold)

    def logits(self, squares: Pixels, *, views: int, check: Check = go_on) -> Logits:
        """(B, K, outputs), see Members."""
        return self.outputs(squares, views=views, check=check).logits

    def outputs(self, squares: Pixels, *, views: int, check: Check = go_on) -> Outputs:
        """See Members."""
        return self._outputs(squares, views, self.folds, check)

    def heat(self, square: Pixels, evidence: Evidence) -> list[Floats]:
        """See Members."""
        return self._heat(square, evidence, self.folds)

    def _heat(self, square: Pixels, evidence: Evidence, folds: tuple[int, ...]) -> list[Floats]:
        """Of these folds' networks. Where features are averaged, gradients are the head's alone."""
        heads = {fold: self._heads.get(fold, ()) for fold in folds}
        models = self._models.by_fold
        averaged = [f for f in folds if heads[f] and len(models[f].outputs) == 2 + len(heads[f])]
        details = dict(zip(averaged, self._run.details(square[None], averaged), strict=True))
        heat: list[Floats] = []
        for fold in folds:
            if fold not in details:
                heat += OneOpenVino(self, fold).reference().heat(square, evidence)
                continue
            embedding, *maps = details[fold]
            parts = np.split(embedding[0].astype(np.float64), len(heads[fold]))
            heat += [
                map_of(features[0].astype(np.float64), head.slopes(part, evidence))
                for features, head, part in zip(maps, heads[fold], parts, strict=True)
            ]
        return heat

    def alone(self) -> list[OneOpenVino]:
        """Each member by itself, on the same model."""
        return [OneOpenVino(self, fold) for fold in self.folds]

    def faster(self) -> OpenVinoMembers:
        """In bfloat16 where the processor multiplies it, made once and kept, of a lower priority
        than these."""
        if not has_bfloat16() or self.precision == "bfloat16":
            return self
        with self._making:
            if self._faster is None:
                self._faster = _behind(
                    lambda: OpenVinoMembers(
                        self._models,
                        load=self.reference,
                        heads=self._heads,
                        precision="bfloat16",
                        threads=self._threads,
                    )
                )
            return self._faster

    def reference(self) -> TorchMembers:
        """Torch's, loaded when they are first needed. Raises WeightsError."""
        with self._loading:
            if self._reference is None:
                self._reference = self._load()
            return self._reference

    def _outputs(
        self, squares: Pixels, views: int, folds: tuple[int, ...], check: Check
    ) -> Outputs:
        """Of these members, the views of all squares as one batch."""
        rows = np.concatenate(dihedral_squares(squares, views))
        logits, embeddings = self._run(rows, folds, check)
        count = len(squares)
        by_view = logits.reshape(views, count, len(folds), -1)
        return Outputs(
            by_view.mean(axis=0, dtype=np.float32).astype(np.float64), embeddings[:count]
        )


class OneOpenVino:
    """One member of OpenVinoMembers, which runs it."""

    backend = OpenVinoMembers.backend

    def __init__(self, members: OpenVinoMembers, fold: int) -> None:
        self._members, self.folds = members, (fold,)
        self.precision = members.precision

    def logits(self, squares: Pixels, *, views: int, check: Check = go_on) -> Logits:
        """(B, 1, outputs), see Members."""
        return self.outputs(squares, views=views, check=check).logits

    def outputs(self, squares: Pixels, *, views: int, check: Check = go_on) -> Outputs:
        """See Members."""
        return self._members._outputs(squares, views, self.folds, check)

    def heat(self, square: Pixels, evidence: Evidence) -> list[Floats]:
        """See Members."""
        return self._members._heat(square, evidence, self.folds)

    def alone(self) -> list[OneOpenVino]:
        """Itself."""
        return [self]

    def faster(self) -> OneOpenVino:
        """The same member of the faster ones."""
        return OneOpenVino(self._members.faster(), self.folds[0])

    def reference(self) -> TorchMembers:
        """Torch's."""
        (fold,) = self.folds
        alone = self._members.reference().alone()
        return next(one for one in alone if one.folds == (fold,))


def open_openvino(bundle: Bundle, *, precision: str) -> OpenVinoMembers:
    """The bundle's members on OpenVINO. Raises WeightsError for weights that cannot be them."""
    models = openvino_models(bundle, lambda: _torch_members(bundle))

    def load() -> TorchMembers:
        # Long after the start, perhaps: Grad-CAM must not explain other weights than have scored.
        if load_bundle(bundle.folder).digest != bundle.digest:
            raise WeightsError(f"{bundle.folder} holds another bundle since; start again")
        return _torch_members(bundle)

    heads = {member.fold: read_heads(member.file, bundle.head) for member in bundle.members}
    return OpenVinoMembers(models, load=load, heads=heads, precision=precision)


def _torch_members(bundle: Bundle) -> TorchMembers:
    # Here: a service that answers no gradients never imports torch.
    from melanoma.scoring.backends.torch_members import load_members

    return load_members(bundle, CPU)


def _behind(make: Callable[[], Made]) -> Made:
    """What `make` gives, its threads of a lower priority: they have that of the one that starts
    them, on Linux."""
    with ThreadPoolExecutor(1, initializer=step_back, initargs=(_NICENESS,)) as aside:
        return aside.submit(make).result()
