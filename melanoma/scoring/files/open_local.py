"""The scorer of a bundle in this process, as predict's options ask for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from melanoma.devices import find_device
from melanoma.scoring.backends.backend_catalog import Engine
from melanoma.scoring.bundle.golden import open_scorer
from melanoma.scoring.files.score_files import LocalScorer
from melanoma.scoring.rounding import precision_note


def open_local(
    folder: Path,
    device: str,
    say: Callable[[str], None] = lambda _: None,
    *,
    views: int | None,
    threshold: float | None,
    prevalence: float | None,
    engine: Engine,
) -> LocalScorer:
    """The scorer of the bundle in `folder`; `say` is told what is known of its bfloat16, where it
    scores in that. Raises as open_scorer and LocalScorer do."""
    where = find_device(device)
    scorer = open_scorer(folder, device=where, views=views, threshold=threshold, engine=engine)
    if note := precision_note(scorer):
        say(f"note: {note}")
    return LocalScorer(scorer, prevalence=prevalence)
