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
import pandas as pd
import torch
from safetensors.torch import load_file
from safetensors.torch import save as serialize

from melanoma.data.csv_tables import read_table
from melanoma.data.name_digests import training_name_digest
from melanoma.errors import RecipeError, StorageError
from melanoma.evaluation.render.html import render_html
from melanoma.evaluation.render.model_card import render_card
from melanoma.evaluation.report.assemble import retarget_report
from melanoma.evaluation.report.pseudonyms import without_names
from melanoma.evaluation.report.schema import ReportContent
from melanoma.recipe.overrides import make_recipe, read_values
from melanoma.recipe.recipe import Recipe
from melanoma.scoring.bundle.bundle import LICENSE, Bundle, load_bundle, make_bundle
from melanoma.scoring.bundle.golden import score_golden
from melanoma.scoring.bundle.manifest import GOLDEN
from melanoma.scoring.bundle.new_folder import new_folder
from melanoma.scoring.bundle.novelty_file import NOVELTY
from melanoma.scoring.bundle.seal import add_golden
from melanoma.scoring.bundle.staging import MANIFEST
from melanoma.scoring.bundle.statement import restated
from melanoma.scoring.scorer import Scorer
from melanoma.storage import copy_file, sha256_of, write_bytes, write_json, write_text
from melanoma.training.weights_origin import TRAINING_IMAGES, seen_before, seen_in_training

# What goes along, where it is there. oof.csv does not: it is a table of patients. In its place
# TRAINING_IMAGES has the names and folds alone: what an external set shares with the training set,
# and which member saw what, is still found.
FILES = ("recipe.yaml", "report.json", "report.html", "MODEL_CARD.md", NOVELTY)
_OWN = (*FILES, GOLDEN, "oof.csv", TRAINING_IMAGES)  # beside the members and the manifest


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
    `notes` are further files that go along, such as a license, beside those that came with the
    bundle; LICENSE.md is read by whoever loads it, and so must be UTF-8. With `prevalence` the
    copy's probabilities and thresholds are those of a place where that share are melanomas; the
    same images are flagged. Raises StorageError when the folder holds
    something already, RecipeError for a prevalence that the bundle cannot be moved to, and for
    notes that one name would be of two files, or that are no UTF-8 where they must be.
    """
    absent = [str(note) for note in notes if not note.is_file()]
    if absent:
        raise StorageError(f"{', '.join(absent)}: no such file to go along")
    _require_own_names(notes)
    report = bundle.report if prevalence is None else retarget_report(bundle.report, prevalence)
    report = without_names(report)
    if not names:
        report = report.model_copy(update={"largest_errors": ()})
    with new_folder(folder) as stage:
        _fill(stage, bundle, notes, report, names=names)
    shipped = load_bundle(folder)
    before, after = (score_golden(Scorer(one))[1] for one in (bundle, shipped))
    size = sum(member.file.stat().st_size for member in shipped.members)
    return Shipped(shipped, size, float(np.abs(before - after).max()))


def _require_own_names(notes: Sequence[Path]) -> None:
    """Raise RecipeError where a note would lie in the place of another, or of the bundle's file."""
    taken = {*_OWN, MANIFEST}
    for note in notes:
        if note.name in taken:
            raise RecipeError(f"--note {note}: the copy has another {note.name}; rename the file")
        taken.add(note.name)
        if note.name == LICENSE:
            _require_text(note)


def _require_text(note: Path) -> None:
    try:
        note.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise RecipeError(f"--note {note}: {LICENSE} is not UTF-8; save it as UTF-8") from error


def _fill(
    stage: Path, bundle: Bundle, notes: Sequence[Path], report: ReportContent, *, names: bool
) -> None:
    """Write the copy's files, and its manifest last."""
    manifest = json.loads((bundle.folder / MANIFEST).read_text())
    sources = [*(bundle.folder / name for name in FILES), *_old_notes(bundle, manifest), *notes]
    # A file that an earlier sealing left behind is no part of the bundle.
    left = set() if bundle.novelty else {bundle.folder / NOVELTY}
    copied = [path for path in sources if path.is_file() and path not in left]
    for source in copied:
        copy_file(source, stage / source.name)
    # As it stands: files of its own steps, which training alone needs, do not go along.
    recipe = make_recipe(read_values(bundle.folder / "recipe.yaml"))
    if (portable := recipe.without_places()) != recipe:
        write_text(stage / "recipe.yaml", portable.to_yaml())
    if report != bundle.report:
        _write_report(report, portable, stage)
        manifest = restated(manifest, portable, report)
    files = list(dict.fromkeys(source.name for source in copied))
    if names and (listed := _training_images(bundle.folder)):
        write_text(stage / TRAINING_IMAGES, listed)
        files.append(TRAINING_IMAGES)
    for stated, member in zip(manifest["members"], bundle.members, strict=True):
        # Not fold_N/: a run that is trained into this folder later has its own there.
        stated["file"] = f"members/fold_{member.fold}.safetensors"
        _halve(member.file, stage / stated["file"])
        files.append(stated["file"])
    manifest["sha256"] = {file: sha256_of(stage / file) for file in files}
    add_golden(stage, manifest, make_bundle(stage, manifest, portable, report))
    write_json(stage / MANIFEST, manifest)


def _old_notes(bundle: Bundle, manifest: dict[str, Any]) -> list[Path]:
    """What went along with the bundle itself, as its license did; a new note of one's name takes
    its place."""
    own = {*_OWN, *(m["file"] for m in manifest["members"])}
    return [bundle.folder / name for name in manifest["sha256"] if name not in own]


def _write_report(report: ReportContent, recipe: Recipe, folder: Path) -> None:
    """Write the report's files."""
    write_json(folder / "report.json", report.model_dump(mode="json"))
    for name, text in (
        ("report.html", render_html(report)),
        ("MODEL_CARD.md", render_card(report, recipe)),
    ):
        if (folder / name).is_file():
            write_text(folder / name, text)


def _training_images(folder: Path) -> str | None:
    """A CSV of the images that the bundle in `folder` was trained on, by digests of their names, in
    no order of theirs; None where it cannot say.

    `fold` held the image out; it is blank where every member saw it, before its own training or as
    the image of a fold that was not trained.
    """
    source = next(
        (folder / n for n in ("oof.csv", TRAINING_IMAGES) if (folder / n).is_file()), None
    )
    if source is None:
        return None
    table = read_table(source, needed=["image_name"])
    table = table[[name for name in ("image_name", "fold") if name in table]]
    untrained = set(seen_in_training(folder)) - set(table["image_name"])
    before = [*seen_before(folder), *untrained]
    if before:
        own = table[~table["image_name"].isin(before)]
        table = pd.concat([own, pd.DataFrame({"image_name": before, "fold": ""})])
    table = table.assign(image_name=table["image_name"].map(training_name_digest))
    ordered = table.drop_duplicates("image_name").sort_values("image_name")
    text: str = ordered.to_csv(index=False, lineterminator="\n")
    return text


def _halve(source: Path, target: Path) -> None:
    weights = {
        name: tensor.half() if tensor.ndim > 1 and tensor.dtype == torch.float32 else tensor
        for name, tensor in load_file(source).items()
    }
    data = serialize(weights)
    write_bytes(target, data)
