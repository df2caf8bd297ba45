"""Curves of loss and learning rate of runs, finished or not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from melanoma.errors import DataError
from melanoma.evaluation.render.figures import as_file
from melanoma.evaluation.render.training_curves import draw_training
from melanoma.storage import write_text
from melanoma.training.run.history import read_run


def save_curves(
    runs: Sequence[Path], out: Path, *, say: Callable[[str], None] = lambda _: None
) -> list[Path]:
    """OUT/RUN.svg of every run that recorded an epoch; `say` is told of the others.

    Raises DataError where none did.
    """
    written = []
    for run in runs:
        charts = draw_training(read_run(run))
        if not charts:
            say(f"note: {run}: no epoch is recorded (metrics.jsonl), so there is no curve")
            continue
        name = "_".join(part for part in run.parts if part not in ("/", "..", "."))
        path = out / f"{name or run.resolve().name}.svg"
        write_text(path, as_file(list(charts.values()), heading=str(run)))
        written.append(path)
    if not written:
        raise DataError("no run has an epoch to draw")
    return written
