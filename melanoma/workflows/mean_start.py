"""Where a student may start from: the mean of the networks that teach it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save

from melanoma.errors import RecipeError
from melanoma.models.pretrained import read_weights
from melanoma.recipe.recipe import Recipe
from melanoma.scoring.bundle.bundle import Bundle, Member
from melanoma.storage import sha256_of, write_bytes
from melanoma.training.fold_data import FoldData
from melanoma.training.teacher import Members
from melanoma.training.weights_origin import find_origin, write_mean
from melanoma.workflows.places import IMAGENET

_STARTS, _FILE = "starts", "model.safetensors"


def start_pattern(folder: Path) -> str:
    """model.pretrained of a student in `folder` that starts so."""
    return str(folder / _STARTS / "fold_{fold}" / _FILE)


def write_mean_starts(
    bundles: Sequence[Bundle], recipe: Recipe, parts: Sequence[FoldData], *, members: Members
) -> None:
    """The files of start_pattern: each parameter's mean over the members that teach the fold.

    Networks that went on from the same weights lie in one basin, and their mean in the middle of it
    (Wortsman et al. 2022, arXiv 2203.05482). Beside each is what its members have seen. Raises
    RecipeError where a teacher's network is another than the student's or has several seeds.
    """
    for bundle in bundles:
        if (bundle.backbone, bundle.seeds) != (recipe.model.backbone, 1):
            raise RecipeError(
                f"{bundle.folder} has networks of {bundle.backbone}"
                f"{f', {bundle.seeds} a member' if bundle.seeds > 1 else ''}, the student is one "
                f"{recipe.model.backbone}: their mean is none; leave --start at recipe"
            )
    for part in parts:
        teaching = [
            member
            for bundle in bundles
            for member in bundle.members
            if members == "all" or member.fold == part.fold
        ]
        path = Path(recipe.model.pretrained.replace("{fold}", str(part.fold)))
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, save(mean_weights(teaching)))
        origins = [find_origin(one.file, part.folds, library=IMAGENET.parent) for one in teaching]
        write_mean(path.parent, origins, digest=sha256_of(path))


def mean_weights(members: Sequence[Member]) -> dict[str, torch.Tensor]:
    """Every parameter's mean, and of BatchNorm's statistics too; its counters are left out."""
    loaded = [read_weights(member.file) for member in members]
    return {
        name: torch.stack([one[name].float() for one in loaded]).mean(dim=0)
        for name, value in loaded[0].items()
        if value.is_floating_point()
    }
