"""Scoring millions of files on a Ray cluster: Ray Data, and actors that hold a bundle.

An actor takes a shard, reads and scores its files as predict does, and writes its Parquet file
itself; what passes through Ray is a shard's number and how it went. A lost node's shards are done
again elsewhere, and those that are written stay.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from melanoma.cluster.attempts import forget_attempts, score_shard
from melanoma.cluster.ray_session import node_resources, read_resources
from melanoma.cluster.shards import NamedFile, ShardFolder, make_plan
from melanoma.errors import DataError, MelanomaError, WeightsError
from melanoma.scoring.backends.backend_catalog import Engine
from melanoma.scoring.files.open_local import open_local
from melanoma.scoring.files.parquet_rows import parquet_bytes
from melanoma.scoring.files.score_files import (
    LocalScorer,
    ReadableFile,
    journal_key,
    score_files,
)
from melanoma.scoring.files.score_rows import Row
from melanoma.workflows.watch import SILENT, Watch

_LOST_OPENING = 10  # actors in turn that may be lost before they hold a bundle; Ray's own is none
SHARD = 1024  # files; whole batches, so that a batch is the one that predict scores


@dataclass(frozen=True)
class Scoring:
    """The bundle's folder, which every node sees, and how it scores; as predict's options."""

    bundle: Path
    device: str = "auto"
    views: int | None = None
    threshold: float | None = None
    prevalence: float | None = None
    engine: Engine = field(default_factory=Engine)

    def open(self) -> LocalScorer:
        """The scorer. Raises as open_local does."""
        return open_local(
            self.bundle,
            self.device,
            views=self.views,
            threshold=self.threshold,
            prevalence=self.prevalence,
            engine=self.engine,
        )


class _Timed:
    """A scorer's answers, their seconds counted."""

    def __init__(self, scorer: LocalScorer) -> None:
        self.seconds, self._answer = 0.0, scorer.answer

    def __call__(self, photographs: Sequence[Any]) -> list[Mapping[str, Any] | str]:
        start = time.perf_counter()
        try:
            return self._answer(photographs)
        finally:
            self.seconds += time.perf_counter() - start


@dataclass(frozen=True)
class Scored:
    """How a run went: files and errors in OUT, and of those scored now the seconds of each worker
    that were the model's and all that it worked, those that it had a processor for (`busy_seconds`,
    all its threads together), and of the whole run."""

    out: str
    files: int
    errors: int
    now: int
    workers: int
    model_seconds: float
    work_seconds: float
    busy_seconds: float
    seconds: float

    @property
    def line(self) -> str:
        """What came of it, for a person."""
        done = f"{self.files - self.errors:,} of {self.files:,} images scored; wrote {self.out}"
        if not self.now:
            return f"{done}; all were there already"
        rest = self.work_seconds - self.model_seconds
        return (
            f"{done}; {self.now:,} of them now, by {self.workers} workers in {self.seconds:.1f} s: "
            f"each worked {self.work_seconds / self.workers:.1f} s, {self.model_seconds:.1f} s in "
            f"all in the model and {rest:.1f} s in reading, decoding and writing beside it"
        )

    def require_whole(self, *, allow_errors: bool) -> None:
        """Raise DataError where images have no score, unless they may."""
        if self.errors and not allow_errors:
            raise DataError(f"{self.errors:,} images have no score: column error of {self.out}")


class ScoreShard:
    """What an actor of Ray Data does: a shard's number in, how it went out.

    `digest` is the command's bundle's. A node that sees another one at that path, or opens it after
    it was sealed anew, scores nothing.
    """

    def __init__(self, scoring: Scoring, out: str, digest: str) -> None:
        os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
        self.folder = ShardFolder(out)
        self.failure: MelanomaError | None = None
        try:
            self.scorer = scoring.open()
            if self.scorer.digest != digest:
                raise WeightsError(
                    f"{scoring.bundle} on {socket.gethostname()} is another bundle than the "
                    f"command opened ({self.scorer.digest[:12]}, not {digest[:12]}); put the same "
                    "one there, or name another --out"
                )
            self.timed = _Timed(self.scorer)
            self.scorer.answer = self.timed  # type: ignore[method-assign]
        except MelanomaError as error:
            self.failure = error  # said once, by the command

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """rows, errors, seconds, model_seconds, busy_seconds and worker; or failure and
        exit_code."""
        shard, start, busy = int(row["shard"]), time.perf_counter(), time.process_time()
        try:
            if self.failure is not None:
                raise self.failure
            before = self.timed.seconds
            files = self.folder.files_of(shard)
            rows = score_shard(self.folder, shard, files, self._score)
            errors = sum(bool(one["error"]) for one in rows)
            classes = self.scorer.scorer.bundle.classes
            facts = {"rows": str(len(rows)), "errors": str(errors), "digest": self.scorer.digest}
            self.folder.write(shard, parquet_bytes(rows, classes, facts))
            forget_attempts(self.folder, shard)
        except MelanomaError as error:
            return _answer(shard, failure=str(error), exit_code=error.exit_code)
        return _answer(
            shard,
            rows=len(rows),
            errors=errors,
            seconds=time.perf_counter() - start,
            model_seconds=self.timed.seconds - before,
            busy_seconds=time.process_time() - busy,
        )

    def _score(self, files: Sequence[ReadableFile]) -> list[Row]:
        return score_files(self.scorer, files, progress=lambda items, **_: items)


def _answer(shard: int, **values: Any) -> dict[str, Any]:
    blank = {"rows": 0, "errors": 0, "seconds": 0.0, "model_seconds": 0.0, "busy_seconds": 0.0}
    return {**blank, "shard": shard, "failure": "", "exit_code": 0, "worker": os.getpid(), **values}


def score_on_ray(
    ray: Any,
    files: Sequence[NamedFile],
    scoring: Scoring,
    out: str,
    *,
    shard_size: int = SHARD,
    per_task: str | None = None,
    watch: Watch = SILENT,
) -> Scored:
    """The files' scores in OUT, a row each; what is there already is not done again.

    Raises MelanomaError with the exit code of what an actor raised, RecipeError where OUT holds
    other scores.
    """
    start, folder = time.monotonic(), ShardFolder(out)
    resources = read_resources(per_task or None, node_resources(ray), gpu=scoring.device != "cpu")
    if per_task is None and "GPU" not in resources:
        resources = {"CPU": 1.0}  # small batches: a core each scores more than many for one
    opened = scoring.open()
    plan = make_plan(files, journal_key(opened), shard_size)
    folder.begin(plan, files)
    todo = sorted(set(range(plan.shards)) - folder.finished())
    if len(todo) < plan.shards:
        watch.say(f"{plan.shards - len(todo):,} of {plan.shards:,} shards are there already")
    answers = []
    for answer in watch.progress(
        _answers(ray, todo, (scoring, out, opened.digest), resources),
        desc="score",
        total=len(todo),
        unit="shard",
    ):
        if answer["failure"]:
            error = MelanomaError(answer["failure"])
            error.exit_code = answer["exit_code"]
            raise error
        answers.append(answer)
    counts = list(folder.counts())
    return Scored(
        out=out,
        files=sum(rows for rows, _ in counts),
        errors=sum(errors for _, errors in counts),
        now=sum(answer["rows"] for answer in answers),
        workers=len({answer["worker"] for answer in answers}),
        model_seconds=sum(answer["model_seconds"] for answer in answers),
        work_seconds=sum(answer["seconds"] for answer in answers),
        busy_seconds=sum(answer["busy_seconds"] for answer in answers),
        seconds=time.monotonic() - start,
    )


def _answers(
    ray: Any, todo: Sequence[int], arguments: tuple[Any, ...], resources: Mapping[str, float]
) -> Any:
    """What the actors, each a ScoreShard of the arguments, answer, as it comes."""
    if not todo:
        return iter(())
    import ray.data as data

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = data.DataContext.get_current()
    context.enable_progress_bars = False
    context.max_consecutive_actor_init_deaths = _LOST_OPENING
    most = max(1, int(min(_fitting(ray, resources), len(todo))))
    shards = data.from_items([{"shard": n} for n in todo], override_num_blocks=len(todo))
    return shards.map(
        ScoreShard,
        fn_constructor_args=arguments,
        # All from the start, since each opens a bundle first; one is enough to go on with.
        compute=data.ActorPoolStrategy(min_size=1, max_size=most, initial_size=most),
        num_cpus=resources.get("CPU", 0),
        num_gpus=resources.get("GPU", 0),
    ).iter_rows()


def _fitting(ray: Any, resources: Mapping[str, float]) -> float:
    return sum(
        min(node.get(key, 0) // value for key, value in resources.items())
        for node in node_resources(ray)
    )
