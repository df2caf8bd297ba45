"""OpenVINO's models, compiled, at work on the rows of a batch.

A model's rows are split into parts, and as many parts are worked on as there are cores, each on
one: cores that share one part wait for each other at every layer. What the members have in common
(common_layers.py) is computed first, once for all that are asked.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from melanoma.data.images import Pixels
from melanoma.devices import step_back
from melanoma.scoring.backends.common_layers import Networks
from melanoma.scoring.backends.core import the_core
from melanoma.scoring.backends.parts import Part, split_rows
from melanoma.scoring.members import Check, go_on

# Squares of a part. Every model keeps the memory of the largest part that it was given, once a
# thread: 16 take twice the memory of the whole service for 3 % of the time.
_PART, _PART_PIXELS = 4, 4 * 224 * 224
# Parts whose common layers are computed before the members go on: what they give waits in memory.
_AT_ONCE = 64
_COMMON = -1  # in the place of a fold's number
_TYPES = {"float32": "f32", "bfloat16": "bf16"}

Floats32: TypeAlias = npt.NDArray[np.float32]


def compile_networks(models: Networks, precision: str, threads: int) -> Networks:
    """The models compiled for this processor, on so many threads, in float32 or bfloat16."""
    by_fold = {fold: _compile(one, precision, threads) for fold, one in models.by_fold.items()}
    common = None if models.common is None else _compile(models.common, precision, threads)
    return Networks(by_fold, common)


def _compile(model: Any, precision: str, threads: int) -> Any:
    options = {
        "INFERENCE_PRECISION_HINT": _TYPES[precision],
        "NUM_STREAMS": threads,
        "INFERENCE_NUM_THREADS": threads,
        # A thread that is tied to a core waits there for whoever else is on it.
        "ENABLE_CPU_PINNING": False,
    }
    return the_core().compile_model(model, "CPU", options)


class PartRunner:
    """Compiled models on rows, so many parts at a time whoever asks: more would only take the
    processor from those who answer."""

    def __init__(self, compiled: Networks, threads: int) -> None:
        self._compiled, self._threads = compiled, threads
        # Whoever has both cores for long goes behind whoever answers; the others' priority is low
        # already, and is inherited.
        self._pool = ThreadPoolExecutor(
            threads, thread_name_prefix="openvino", initializer=step_back, initargs=(2,)
        )
        self._own = threading.local()

    def __call__(
        self, rows: Pixels, folds: tuple[int, ...], check: Check = go_on
    ) -> tuple[Floats32, Floats32]:
        """(R, K, outputs) logits and (R, K, D) embeddings of (R, S, S, 3) uint8; `check` is called
        before each part, in the thread that works on it."""
        most = min(_PART, max(1, _PART_PIXELS // rows.shape[1] ** 2))
        step = len(rows) if self._compiled.common is None else _AT_ONCE * most
        starts = range(0, len(rows), step)
        found = [self._some(rows[first : first + step], folds, most, check) for first in starts]
        logits, embeddings = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return logits, embeddings

    def details(self, rows: Pixels, folds: Sequence[int]) -> list[list[Floats32]]:
        """A fold each: what its model gives beside logits, embeddings (B, D), maps (B, C, h, w)."""
        given = self._begin(rows, len(rows))

        def infer(fold: int) -> list[Floats32]:
            model = self._compiled.by_fold[fold]
            return self._infer(fold, model, given, range(1, len(model.outputs)))

        return list(self._pool.map(infer, folds))

    def _some(
        self, rows: Pixels, folds: tuple[int, ...], most: int, check: Check
    ) -> tuple[Floats32, Floats32]:
        given = self._begin(rows, most, check)
        jobs = split_rows(len(rows), most=most, folds=folds, threads=self._threads)

        def infer(job: Part) -> list[Floats32]:
            check()
            part = [values[job.rows] for values in given]
            return self._infer(job.fold, self._compiled.by_fold[job.fold], part, (0, 1))

        found = list(self._pool.map(infer, jobs))
        by_fold = [
            [outputs for job, outputs in zip(jobs, found, strict=True) if job.fold == fold]
            for fold in folds
        ]
        logits, embeddings = (
            np.stack([np.concatenate([part[which] for part in one]) for one in by_fold], axis=1)
            for which in (0, 1)
        )
        return logits, embeddings

    def _begin(self, rows: Pixels, most: int, check: Check = go_on) -> list[npt.NDArray[Any]]:
        """What the members' models take: the rows, or what the common layers give for them."""
        common = self._compiled.common
        if common is None:
            return [rows]
        jobs = split_rows(len(rows), most=most, folds=[_COMMON], threads=self._threads)
        outputs = range(len(common.outputs))

        def infer(job: Part) -> list[Floats32]:
            check()
            return self._infer(_COMMON, common, [rows[job.rows]], outputs)

        found = self._pool.map(infer, jobs)
        return [np.concatenate(parts) for parts in zip(*found, strict=True)]

    def _infer(
        self, key: int, model: Any, part: list[npt.NDArray[Any]], outputs: Sequence[int]
    ) -> list[Floats32]:
        if not hasattr(self._own, "requests"):
            self._own.requests = {}
        requests: dict[int, Any] = self._own.requests
        if key not in requests:
            requests[key] = model.create_infer_request()
        request = requests[key]
        request.infer(part, share_inputs=True)
        # Copies: the request's own memory is written again at the next one.
        return [request.get_output_tensor(number).data.copy() for number in outputs]
