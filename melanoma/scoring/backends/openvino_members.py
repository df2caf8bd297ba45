"""OpenVinoMembers: the members on OpenVINO, on the processor's cores.

A member's squares are split into parts, and as many parts are worked on as there are cores, each
on one: cores that share one part wait for each other at every layer.
"""

from __future__ import annotations

import math
import os
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from melanoma.data.images import Pixels
from melanoma.data.transforms import dihedral_views
from melanoma.devices import count_cores, has_bfloat16
from melanoma.errors import WeightsError
from melanoma.scoring.backends.conversion import openvino_models
from melanoma.scoring.backends.core import the_core
from melanoma.scoring.bundle.bundle import Bundle, load_bundle
from melanoma.scoring.members import Logits, Outputs, TorchMembers, load_members

# Squares of a part: more are no faster, and each takes memory.
_PART, _PART_PIXELS = 16, 16 * 224 * 224
# Of what answers many questions: scores go first.
_NICENESS = 5
_TYPES = {"float32": "f32", "bfloat16": "bf16"}


class OpenVinoMembers:
    """Models by fold (openvino_models), compiled for this processor in float32 or bfloat16.

    `load` gives torch's members when a gradient is first asked for.
    """

    backend = "openvino"

    def __init__(
        self,
        models: Mapping[int, Any],
        *,
        load: Callable[[], TorchMembers],
        precision: str = "float32",
        threads: int | None = None,
    ) -> None:
        self.precision = precision
        self._load = load
        self._models, self._threads = models, threads or count_cores()
        compiled = {fold: _compile(one, precision, self._threads) for fold, one in models.items()}
        self._run = _Runner(compiled, self._threads)
        self._faster: OpenVinoMembers | None = None
        self._reference: TorchMembers | None = None
        self._making, self._loading = threading.Lock(), threading.Lock()

    @property
    def folds(self) -> tuple[int, ...]:
        """The members' folds, in the order of their logits."""
        return tuple(self._models)

    def logits(self, squares: Pixels, *, views: int) -> Logits:
        """(B, K, outputs), see Members."""
        return self._outputs(squares, views, self.folds).logits

    def outputs(self, squares: Pixels, *, views: int) -> Outputs:
        """See Members."""
        return self._outputs(squares, views, self.folds)

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

    def _outputs(self, squares: Pixels, views: int, folds: tuple[int, ...]) -> Outputs:
        """Of these members, the views of all squares as one batch."""
        seen = dihedral_views(torch.from_numpy(squares).permute(0, 3, 1, 2), views)
        rows = torch.cat([view.permute(0, 2, 3, 1) for view in seen]).contiguous().numpy()
        logits, embeddings = self._run(rows, folds)
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

    def logits(self, squares: Pixels, *, views: int) -> Logits:
        """(B, 1, outputs), see Members."""
        return self.outputs(squares, views=views).logits

    def outputs(self, squares: Pixels, *, views: int) -> Outputs:
        """See Members."""
        return self._members._outputs(squares, views, self.folds)

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


class _Runner:
    """Compiled models on rows, so many parts at a time whoever asks: more would only take the
    processor from those who answer."""

    def __init__(self, compiled: Mapping[int, Any], threads: int) -> None:
        self._compiled, self._threads = compiled, threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="openvino")
        self._own = threading.local()

    def __call__(
        self, rows: Pixels, folds: tuple[int, ...]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """(R, K, outputs) logits and (R, K, D) embeddings of (R, S, S, 3) uint8."""
        most = min(_PART, max(1, _PART_PIXELS // rows.shape[1] ** 2))
        step = min(most, math.ceil(len(rows) / self._threads))
        parts = [rows[first : first + step] for first in range(0, len(rows), step)]
        jobs = [(fold, part) for fold in folds for part in parts]
        found = list(self._pool.map(lambda job: self._infer(*job), jobs))
        by_fold = [found[n * len(parts) : (n + 1) * len(parts)] for n in range(len(folds))]
        logits, embeddings = (
            np.stack([np.concatenate([part[which] for part in one]) for one in by_fold], axis=1)
            for which in (0, 1)
        )
        return logits, embeddings

    def _infer(
        self, fold: int, part: Pixels
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        if not hasattr(self._own, "requests"):
            self._own.requests = {}
        requests: dict[int, Any] = self._own.requests
        if fold not in requests:
            requests[fold] = self._compiled[fold].create_infer_request()
        request = requests[fold]
        request.infer([part], share_inputs=True)
        # Copies: the request's own memory is written again at the next one.
        logits, embeddings = (request.get_output_tensor(n).data.copy() for n in (0, 1))
        return logits, embeddings


def open_openvino(bundle: Bundle, *, precision: str) -> OpenVinoMembers:
    """The bundle's members on OpenVINO. Raises WeightsError for weights that cannot be them."""
    cpu = torch.device("cpu")
    models = openvino_models(bundle, lambda: load_members(bundle, cpu))

    def load() -> TorchMembers:
        # Long after the start, perhaps: Grad-CAM must not explain other weights than have scored.
        if load_bundle(bundle.folder).digest != bundle.digest:
            raise WeightsError(f"{bundle.folder} holds another bundle since; start again")
        return load_members(bundle, cpu)

    return OpenVinoMembers(models, load=load, precision=precision)


def _compile(model: Any, precision: str, threads: int) -> Any:
    options = {
        "INFERENCE_PRECISION_HINT": _TYPES[precision],
        "NUM_STREAMS": threads,
        "INFERENCE_NUM_THREADS": threads,
        # A thread that is tied to a core waits there for whoever else is on it.
        "ENABLE_CPU_PINNING": False,
    }
    return the_core().compile_model(model, "CPU", options)


def _behind(make: Callable[[], OpenVinoMembers]) -> OpenVinoMembers:
    """What `make` gives, its threads of a lower priority: they have that of the one that starts
    them, on Linux."""

    def step_back() -> None:
        if sys.platform == "linux":
            me = threading.get_native_id()
            now = os.getpriority(os.PRIO_PROCESS, me)
            os.setpriority(os.PRIO_PROCESS, me, min(19, now + _NICENESS))

    with ThreadPoolExecutor(1, initializer=step_back) as aside:
        return aside.submit(make).result()
