"""The scorer of a bundle in this process, as predict's options ask for it."""

from __future__ import annotations

from pathlib import Path

from melanoma.devices import find_device
from melanoma.scoring.backends.backend_catalog import Engine
from melanoma.scoring.bundle.golden import open_scorer
from melanoma.scoring.files.score_files import LocalScorer


def open_local(
    folder: Path,
    device: str,
    *,
    views: int | None,
    threshold: float | None,
    prevalence: float | None,
    engine: Engine,
) -> LocalScorer:
    """The scorer of the bundle in `folder`. Raises as open_scorer and LocalScorer do."""
    where = find_device(device)
    scorer = open_scorer(folder, device=where, views=views, threshold=threshold, engine=engine)
    return LocalScorer(scorer, prevalence=prevalence)
