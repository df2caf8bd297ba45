"""Shipping: a copy of a bundle that is small enough to come with a clone.

The members' matrices and kernels are kept in half precision (eleven significant bits), which
halves the files; biases and the statistics of normalization stay as they are. Scores are computed
in float32 from these weights, as always, so that they differ by the rounding alone: `largest` says
by how much on the golden image.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from safetensors.torch import save as serialize

from melanoma.errors import StorageError
from melanoma.scoring.bundle import MANIFEST, Bundle, load_bundle
from melanoma.scoring.golden import score_golden, seal_golden
from melanoma.scoring.scorer import Scorer
from melanoma.storage import sha256_of, write_atomic, write_json

# What goes along, where it is there. oof.csv does not: it is a table of patients.
FILES = ("recipe.yaml", "report.json", "report.html", "MODEL_CARD.md")


@dataclass(frozen=True)
class Shipped:
    """The copy, the bytes of its members, and the largest change of a golden logit."""

    bundle: Bundle
    member_bytes: int
    largest: float


def ship_bundle(bundle: Bundle, folder: Path, *, notes: Sequence[Path] = ()) -> Shipped:
    """A copy of `bundle` in `folder`, its members in half precision, sealed anew.

    `notes` are further files that go along, such as a licence. Raises StorageError when the folder
    holds something already.
    """
    if folder.exists() and any(folder.iterdir()):
        raise StorageError(f"{folder} exists; remove it, or name a new folder for the copy")
    folder.mkdir(parents=True, exist_ok=True)
    sources = [bundle.folder / name for name in FILES]
    digests = {}
    for source in (*(path for path in sources if path.is_file()), *notes):
        shutil.copyfile(source, folder / source.name)
        digests[source.name] = sha256_of(folder / source.name)
    manifest = json.loads((bundle.folder / MANIFEST).read_text())
    for stated, member in zip(manifest["members"], bundle.members, strict=True):
        # Not fold_N/: a run that is trained into this folder later has its own there.
        stated["file"] = f"members/fold_{member.fold}.safetensors"
        _halve(member.file, folder / stated["file"])
        digests[stated["file"]] = sha256_of(folder / stated["file"])
    write_json(folder / MANIFEST, {**manifest, "sha256": digests})
    shipped = seal_golden(load_bundle(folder))
    before, after = (score_golden(Scorer(one))[1] for one in (bundle, shipped))
    size = sum(member.file.stat().st_size for member in shipped.members)
    return Shipped(shipped, size, float(np.abs(before - after).max()))


def _halve(source: Path, target: Path) -> None:
    weights = {
        name: tensor.half() if tensor.ndim > 1 and tensor.dtype == torch.float32 else tensor
        for name, tensor in load_file(source).items()
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    data = serialize(weights)
    write_atomic(target, lambda file: file.write(data))
