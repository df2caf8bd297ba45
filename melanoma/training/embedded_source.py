"""What a fold that trains a head alone is made of: embeddings, its own backbone's or given ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from melanoma.data.batches import RowSource
from melanoma.models.classifier import Classifier
from melanoma.recipe.recipe import Recipe
from melanoma.training.embeddings import make_embeddings
from melanoma.training.fold_data import FoldData
from melanoma.training.given_embeddings import open_given
from melanoma.training.watchers import Watchers


def embedded_source(
    recipe: Recipe,
    data: FoldData,
    classifier: Classifier,
    cache: Path,
    *,
    workers: int,
    between: Callable[[], None],
    watchers: Watchers,
) -> tuple[RowSource, str | None] | None:
    """The embeddings, and the name of the file in `cache` where they are the backbone's own.

    A backbone that never changes sees each image once, unless augment or a stage's size changes
    the images: then None, which is said, and it runs for every batch.
    """
    path = recipe.model.embeddings
    if path is not None:
        watchers.say(f"training a head on {path}")
        return open_given(Path(path), data), None
    reasons = {
        "augment changes the images": bool(recipe.augment),
        "there are data.sources": bool(data.sources),
        "a stage has a size of its own": any(plan.size for plan in recipe.stage_plans),
    }
    why = next((reason for reason, holds in reasons.items() if holds), None)
    if why is not None:
        watchers.say(f"the backbone is frozen, but {why}: it runs for every batch")
        return None
    embeddings = make_embeddings(
        classifier,
        recipe,
        data.array,
        cache,
        # Rows of a test part have no target here, and are not looked at.
        rows=np.flatnonzero(data.targets >= 0),
        workers=workers,
        between=between,
        bar=watchers.bar,
    )
    watchers.say(f"the backbone is frozen: training on {embeddings.path}")
    return embeddings, embeddings.path.name
