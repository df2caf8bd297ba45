"""The held-out images of a run's finished folds, embedded for what is fitted on them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch

from melanoma.data.arrays import ImageArray
from melanoma.data.find_array import find_array
from melanoma.errors import DataError
from melanoma.scoring.backends.torch_members import TorchMembers, load_network
from melanoma.scoring.held_out import HalfFloats, embed_held_out
from melanoma.training.run.run_folder import MODEL, fold_folder
from melanoma.workflows.finished import FinishedFolds
from melanoma.workflows.watch import Watch


def embed_finished(
    trained: FinishedFolds, array: ImageArray, *, device: torch.device
) -> HalfFloats:
    """(N, D) float16, in the order of `trained.scores`: see embed_held_out. `array` is
    trained_array's."""
    frame = trained.scores.frame
    rows = np.array([array.row_of[name] for name in frame["image_name"]], dtype=np.int64)
    member_of = partial(fold_member, trained, device=device)
    return embed_held_out(member_of, array, rows, frame["fold"].to_numpy(np.int64))


def fold_member(trained: FinishedFolds, fold: int, *, device: torch.device) -> TorchMembers:
    """The network of one fold, alone."""
    recipe = trained.recipe
    network = load_network(
        fold_folder(trained.folder, fold) / MODEL,
        recipe.model.backbone,
        outputs=recipe.outputs,
        head=recipe.model.head,
        seeds=max(1, len(recipe.seeds)),
    )
    return TorchMembers({fold: network}, normalize=recipe.image.normalize, device=device)


def trained_array(
    trained: FinishedFolds, arrays: Path | None, *, watch: Watch
) -> ImageArray | None:
    """The array that the folds were trained on. None, and a note that says why, where it is not in
    `arrays`."""
    if arrays is None:
        return None
    array, why = None, f"it is not in {arrays}"
    try:
        array = find_array(arrays, trained.recipe.image, data=arrays, amend=False)
    except DataError as error:
        why = str(error)
    if array is not None and array.digest != trained.facts[0].array_digest:
        array, why = None, f"the one in {arrays} is another"
    if array is None:
        watch.say(
            "note: nothing is fitted on the held-out photographs, such as the novelty score: "
            f"the array that the folds were trained on is needed, and {why}; "
            "name its folder with --arrays"
        )
    return array
