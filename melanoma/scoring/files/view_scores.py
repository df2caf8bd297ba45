"""Single views' scores: a row an image and symmetry of its square, for an average of one's own."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from melanoma.data.images import MAX_FILE_BYTES, Pixels, decode_image
from melanoma.data.symmetries import SYMMETRIES
from melanoma.data.transforms import dihedral_views
from melanoma.scoring.files.score_rows import save_rows

if TYPE_CHECKING:
    from melanoma.scoring.files.find import ImageFile
    from melanoma.scoring.scorer import Scorer

VIEWS = tuple(symmetry.name for symmetry in SYMMETRIES)


def score_views(scorer: Scorer, square: Pixels) -> list[dict[str, Any]]:
    """A row for each of the scorer's views of (S, S, 3): view, melanoma_probability, by_class,
    by_fold and what they refer to, as a Prediction has them. Raises ScoreError.

    A Prediction averages its views' logits, member by member, and so is not the mean of these.
    """
    images = torch.from_numpy(square[None]).permute(0, 3, 1, 2)
    views = [view[0].permute(1, 2, 0).numpy() for view in dihedral_views(images, scorer.views)]
    upright = scorer.on(scorer.members, views=1)
    found = [upright.answer(one) for one in upright.member_probabilities(np.stack(views))]
    names = VIEWS[: len(views)]
    return [
        {
            "view": name,
            "melanoma_probability": one.melanoma_probability,
            "by_class": one.by_class,
            "by_fold": one.by_fold,
            "calibrated": one.calibrated,
            "prevalence": one.prevalence,
            "disclaimer": one.disclaimer,
        }
        for name, one in zip(names, found, strict=True)
    ]


def save_view_scores(scorer: Scorer, files: Iterable[ImageFile], path: Path) -> int:
    """Write the views of each file as CSV, whole or not at all; returns the number of rows.

    The files are such as have a score. Raises StorageError, and ImageError for a file that has
    changed since.
    """
    rows: list[dict[str, Any]] = []
    for file in files:
        photograph = decode_image(file.read(), limit=MAX_FILE_BYTES)
        square = scorer.square(photograph.pixels)
        rows += [{"image_name": file.name, **row} for row in score_views(scorer, square)]
    save_rows(rows, path)
    return len(rows)
