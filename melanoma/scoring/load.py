"""load: a bundle, or a folder that `export --to huggingface` wrote, as a Scorer."""

from __future__ import annotations

from pathlib import Path

import torch

from melanoma.scoring.backends.backend_catalog import Engine
from melanoma.scoring.bundle.golden import open_scorer
from melanoma.scoring.bundle.staging import MANIFEST
from melanoma.scoring.scorer import Scorer

BUNDLE = "bundle"  # where an exported folder keeps it


def load(
    folder: str | Path,
    *,
    device: torch.device | None = None,
    views: int | None = None,
    backend: str = "auto",
) -> Scorer:
    """The Scorer of the bundle in `folder`, or of the one that a Hugging Face folder holds.

    Every file's sha256 and the golden score are verified. On the CPU by default, by the fastest
    `backend` that is installed (auto, torch or openvino). Raises WeightsError where there is no
    bundle, or it is damaged, RecipeError for a backend that cannot be had.
    """
    path = Path(folder)
    inner = path / BUNDLE
    if not (path / MANIFEST).is_file() and (inner / MANIFEST).is_file():
        path = inner
    return open_scorer(path, device=device, views=views, engine=Engine(backend))
