"""A bundle as a Hugging Face folder: a card, the members for timm, and the sealed bundle itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save

from melanoma.data.transforms import to_tensor
from melanoma.evaluation.calibration import plain_probabilities
from melanoma.scoring.backends.torch_members import load_members
from melanoma.scoring.bundle.bundle import Bundle, load_bundle
from melanoma.scoring.bundle.new_folder import new_folder
from melanoma.scoring.bundle.shipped_copy import ship_bundle
from melanoma.scoring.bundle.staging import MANIFEST
from melanoma.scoring.export.card import UNKNOWN_LICENSE, find_license, render_hub_card
from melanoma.scoring.export.export_folder import Exported, copy_license, describe, folder_bytes
from melanoma.scoring.export.export_options import ExportOptions
from melanoma.scoring.export.graph import check_squares, require_equal
from melanoma.scoring.export.timm_folder import (
    TimmMember,
    make_timm_member,
    require_timm,
    write_timm_member,
)
from melanoma.scoring.load import BUNDLE
from melanoma.scoring.scorer import Scorer
from melanoma.storage import copy_file, write_bytes, write_json, write_text

_PATIENTS = "oof.csv"  # a table of the training's images and patients: never published


def export_huggingface(bundle: Bundle, folder: Path, options: ExportOptions) -> Exported:
    """DIR with README.md (the card), config.json and model.safetensors, and the bundle in bundle/.

    Where timm has the backbone, the first member lies in DIR and every member in DIR/fold_N, each
    as timm loads it. Else model.safetensors holds all members by names of ours, and the card says
    that only this library reads them. A bundle with a table of patients goes as `ship` copies it,
    without names. Raises RecipeError without timm, StorageError for a folder that holds something,
    MelanomaError where timm's models say something else.
    """
    require_timm()
    with new_folder(folder) as stage:
        inner = _copy_bundle(bundle, stage / BUNDLE)
        facts = describe(inner, views=inner.views)
        members = _timm_members(inner)
        largest = max(_compare(inner, members) if members else 0.0, _rounding(bundle, inner))
        for fold, made in members.items():
            for place in (stage / f"fold_{fold}", *([stage] if fold == min(members) else [])):
                place.mkdir(exist_ok=True)
                write_timm_member(made, inner, {"fold": fold, **facts}, place)
        if not members:
            _write_ours(inner, facts, stage)
        architecture = next((made.architecture for made in members.values()), None)
        license_id = find_license(inner, options.license)
        card = render_hub_card(inner, facts, architecture=architecture, license_id=license_id)
        write_text(stage / "README.md", card)
        copy_license(inner, stage)
    return Exported(
        folder,
        "huggingface",
        folder_bytes(folder),
        largest,
        architecture=architecture,
        license_id=license_id,
        notes=_notes(bundle, architecture, license_id),
    )


def _notes(bundle: Bundle, architecture: str | None, license_id: str) -> tuple[str, ...]:
    notes = []
    if architecture is None:
        notes.append(
            f"timm has no network that is {bundle.backbone} as it was trained here; the folder is "
            "read by melanoma.load alone, and its card says so"
        )
    if license_id == UNKNOWN_LICENSE:
        notes.append(
            "the card's license is unknown: say --license, or seal LICENSE.md by ship --note"
        )
    return tuple(notes)


def _copy_bundle(bundle: Bundle, folder: Path) -> Bundle:
    """The same bundle, byte by byte; without its table of patients, where it has one."""
    named = json.loads((bundle.folder / MANIFEST).read_text())["sha256"]
    if _PATIENTS in named:
        return ship_bundle(bundle, folder, names=False).bundle
    for name in (*named, MANIFEST):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        copy_file(bundle.folder / name, folder / name)
    return load_bundle(folder)


def _rounding(bundle: Bundle, inner: Bundle) -> float:
    """The largest change of a member's probability by half precision, where the copy is in that."""
    if inner.digest == bundle.digest:
        return 0.0
    squares = check_squares(bundle.size)
    before, after = (
        one.served(Scorer(one, views=1).member_probabilities(squares)) for one in (bundle, inner)
    )
    return float(np.abs(after - before).max())


def _timm_members(bundle: Bundle) -> dict[int, TimmMember]:
    """Every member as timm's model, by fold; none where timm has no such model."""
    networks = load_members(bundle, torch.device("cpu")).networks
    members = {}
    for member in bundle.members:
        made = make_timm_member(bundle, member, networks[member.fold])
        if made is None:
            return {}
        members[member.fold] = made
    return members


@torch.inference_mode()
def _compare(bundle: Bundle, members: Mapping[int, TimmMember]) -> float:
    """The largest difference of a member's probability; one view, as timm's users have it."""
    squares = check_squares(bundle.size)
    images = to_tensor(squares, normalize=bundle.normalize)
    columns = []
    for made in members.values():
        columns.append(plain_probabilities(made.model(images).double().numpy()))
    by_member = bundle.served(np.stack(columns, axis=1))
    return require_equal(by_member, bundle, squares, views=1, what="timm's model")


def _write_ours(bundle: Bundle, facts: Mapping[str, Any], folder: Path) -> None:
    """All members in one file, for a folder that has what the hub's pages look for."""
    tensors = {
        f"fold_{member.fold}.{name}": value
        for member in bundle.members
        for name, value in load_file(member.file).items()
    }
    write_bytes(folder / "model.safetensors", save(tensors, metadata={"format": "pt"}))
    write_json(folder / "config.json", {"library_name": "melanoma", "melanoma": dict(facts)})
