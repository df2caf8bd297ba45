"""Whether the processes of torchrun are to train the same fold: machines have files of their own.

Each takes its part of batches that it has planned itself, so that another fold file on a second
machine would train there on what the first one holds out, and score other images.
"""

from __future__ import annotations

import socket
from typing import Any

from melanoma.errors import DataError
from melanoma.recipe.recipe import Recipe
from melanoma.storage import digest_of
from melanoma.training.fold_data import FoldData
from melanoma.training.ranks import Ranks
from melanoma.training.run.facts import RunStart


def require_same_start(recipe: Recipe, data: FoldData, start: RunStart, ranks: Ranks) -> None:
    """Raise DataError, in the first process, where another one has other files, or another recipe;
    in the others SystemExit with its exit code."""
    if ranks.world == 1:
        return
    every = ranks.gathered((socket.gethostname(), _start(recipe, data, start)))
    ranks.from_first(lambda: _compare(every))


def _start(recipe: Recipe, data: FoldData, start: RunStart) -> dict[str, Any]:
    """What decides the batches and their targets, by the name that a person knows it by."""
    rows = [data.training, data.validation, *(source.rows for source in data.sources)]
    return {
        "recipe": digest_of(recipe.identity()),
        "fold": data.fold,
        "fold file": (data.folds.digest, digest_of([part.tolist() for part in rows])),
        "array": data.array.digest,
        "data.sources": [(facts.name, facts.digest) for facts in start.sources or ()],
        "model.embeddings": start.embeddings,
        "loss.teacher": start.teacher,
        "loss.auxiliary": start.auxiliary,
    }


def _compare(every: list[tuple[str, dict[str, Any]]]) -> None:
    (_, first), *others = every
    for number, (host, own) in enumerate(others, start=1):
        other = [name for name, value in first.items() if own[name] != value]
        if other:
            raise DataError(
                f"process {number} of torchrun, on {host}, has another {', another '.join(other)} "
                "than the first process; copy the first one's files to the same paths there"
            )
