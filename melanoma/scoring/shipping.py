"""Shipping: a copy of a bundle that is small enough to come with a clone.

The members' matrices and kernels are kept in half precision (eleven significant bits), which
halves the files; biases and the statistics of normalization stay as they are. Scores are computed
in float32 from these weights, as always, so that they differ by the rounding alone: `largest` says
by how much on the golden image.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from safetensors.torch import save as serialize

from melanoma.data.name_digests import training_name_digest
from melanoma.data.tables import read_table
from melanoma.errors import RecipeError, StorageError
from melanoma.evaluation.html import render_html
from melanoma.evaluation.model_card import render_card
from melanoma.evaluation.pseudonyms import without_names
from melanoma.evaluation.report import retarget_report
from melanoma.evaluation.schema import validate_report
from melanoma.recipe import load_recipe
from melanoma.scoring.bundle import Bundle, load_bundle, read_manifest, served_numbers
from melanoma.scoring.golden import score_golden
from melanoma.scoring.scorer import Scorer
from melanoma.scoring.seal import add_golden
from melanoma.scoring.staging import MANIFEST
from melanoma.storage import copy_file, new_folder, sha256_of, write_bytes, write_json, write_text

# What goes along, where it is there. oof.csv does not: it is a table of patients.
FILES = ("recipe.yaml", "report.json", "report.html", "MODEL_CARD.md")
# In its place digests of the names: what an external set shares with the training set is found.
TRAINING_IMAGES = "training_images.csv"


@dataclass(frozen=True)
class Shipped:
    """The copy, the bytes of its members, and the largest change of a golden logit."""

    bundle: Bundle
    member_bytes: int
    largest: float


def ship_bundle(
    bundle: Bundle,
    folder: Path,
    *,
    notes: Sequence[Path] = (),
    prevalence: float | None = None,
    names: bool = True,
) -> Shipped:
    """A copy of `bundle` in `folder`, its members in half precision, sealed anew.

    The names of the training images go along as digests (melanoma.data.name_digests), by which an
    overlap is still found; without `names` not even those do, nor the report's largest errors.
    `notes` are further files that go along, such as a license. With `prevalence` the copy's
    probabilities and thresholds are those of a place where that share are melanomas; the same
    images are flagged. Raises StorageError when the folder holds something already, RecipeError for
    a prevalence that the bundle cannot be moved to.
    """
    absent = [str(note) for note in notes if not note.is_file()]
    if absent:
        raise StorageError(f"{', '.join(absent)}: no such file to go along")
    report = bundle.report if prevalence is None else _retarget(bundle, prevalence)
    report = without_names(report) if names else {**without_names(report), "largest_errors": []}
    with new_folder(folder) as stage:
        _fill(stage, bundle, notes, report, names=names)
    shipped = load_bundle(folder)
    before, after = (score_golden(Scorer(one))[1] for one in (bundle, shipped))
    size = sum(member.file.stat().st_size for member in shipped.members)
    return Shipped(shipped, size, float(np.abs(before - after).max()))


def _fill(
    stage: Path, bundle: Bundle, notes: Sequence[Path], report: dict[str, Any], *, names: bool
) -> None:
    """Write the copy's files, and its manifest last."""
    sources = [*(bundle.folder / name for name in FILES), *notes]
    copied = [path for path in sources if path.is_file()]
    for source in copied:
        copy_file(source, stage / source.name)
    manifest = json.loads((bundle.folder / MANIFEST).read_text())
    if report != bundle.report:
        manifest |= _write_report(report, stage)
    files = [source.name for source in copied]
    if names and (listed := _training_images(bundle.folder)):
        write_text(stage / TRAINING_IMAGES, listed)
        files.append(TRAINING_IMAGES)
    for stated, member in zip(manifest["members"], bundle.members, strict=True):
        # Not fold_N/: a run that is trained into this folder later has its own there.
        stated["file"] = f"members/fold_{member.fold}.safetensors"
        _halve(member.file, stage / stated["file"])
        files.append(stated["file"])
    manifest["sha256"] = {file: sha256_of(stage / file) for file in files}
    add_golden(stage, manifest, read_manifest(stage, manifest, report))
    write_json(stage / MANIFEST, manifest)


def _retarget(bundle: Bundle, prevalence: float) -> dict[str, Any]:
    if bundle.report["recalibrated"]:
        raise RecipeError("--prevalence: this bundle was recalibrated on a set of its own")
    return retarget_report(bundle.report, prevalence)


def _write_report(report: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Write the report's files; returns what the manifest repeats of them."""
    recipe, content = load_recipe(folder / "recipe.yaml"), validate_report(report)
    write_json(folder / "report.json", report)
    for name, text in (
        ("report.html", render_html(content)),
        ("MODEL_CARD.md", render_card(content, recipe)),
    ):
        if (folder / name).is_file():
            write_text(folder / name, text)
    return served_numbers(report, recipe)


def _training_images(folder: Path) -> str | None:
    """A CSV of digests of the names that the bundle in `folder` was trained on, in no order of
    theirs; None where it cannot say."""
    for source in (folder / "oof.csv", folder / TRAINING_IMAGES):
        if source.is_file():
            names = read_table(source, needed=["image_name"])["image_name"]
            digests = sorted({training_name_digest(name) for name in names})
            return "\n".join(["image_name", *digests]) + "\n"
    return None


def _halve(source: Path, target: Path) -> None:
    weights = {
        name: tensor.half() if tensor.ndim > 1 and tensor.dtype == torch.float32 else tensor
        for name, tensor in load_file(source).items()
    }
    data = serialize(weights)
    write_bytes(target, data)
