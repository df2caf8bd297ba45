"""A Hugging Face folder: timm loads its members, and the bundle goes along without names."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from benchmarks.shipped import WEIGHTS as SHIPPED
from melanoma.scoring.bundle.bundle import Bundle, load_bundle
from melanoma.scoring.bundle.shipped_copy import ship_bundle
from melanoma.scoring.export import huggingface
from melanoma.scoring.export.export_options import ExportOptions
from melanoma.scoring.export.graph import check_squares
from melanoma.scoring.export.huggingface import export_huggingface
from melanoma.scoring.scorer import Scorer
from melanoma.storage import sha256_of, write_json, write_text

pytestmark = pytest.mark.slow  # together they take many seconds


def test_timm_alone_loads_every_member_and_their_mean_is_the_bundle_s(
    hub_folder: Path, bundle: Bundle, trained: Any
) -> None:
    timm = pytest.importorskip("timm")
    from PIL import Image
    from timm.data import create_transform, resolve_model_data_config

    members = [
        timm.create_model(f"local-dir:{hub_folder / f'fold_{n}'}", pretrained=True).eval()
        for n in (0, 1)
    ]
    transform = create_transform(**resolve_model_data_config(members[0]))
    squares = trained.array.rows(list(range(6)))
    # Squares of the size that is asked for: the transform has nothing left to resize.
    images = torch.stack([transform(Image.fromarray(square)) for square in squares])
    with torch.inference_mode():
        found = torch.stack([member(images).sigmoid() for member in members]).mean(0)[:, 0]
    scorer = Scorer(bundle_of(hub_folder), views=1)
    expected = melanoma_of(scorer, squares)
    assert np.abs(found.numpy() - expected).max() < 1e-4
    first = timm.create_model(f"local-dir:{hub_folder}", pretrained=True).eval()
    with torch.inference_mode():
        assert torch.equal(first(images), members[0](images))
    assert first.pretrained_cfg["label_names"] == ["melanoma"]
    # Half as many digits, as `ship` writes them: no more is lost than that.
    assert np.abs(expected - melanoma_of(Scorer(bundle, views=1), squares)).max() < 1e-2


def test_a_moved_bundle_s_card_says_how_the_models_mean_is_moved(
    bundle: Bundle, tmp_path: Path
) -> None:
    pytest.importorskip("timm")
    moved = ship_bundle(bundle, tmp_path / "moved", prevalence=0.02).bundle
    assert moved.move is not None
    made = export_huggingface(moved, tmp_path / "hub", ExportOptions(license="mit"))
    assert made.largest < 1e-4
    card = (tmp_path / "hub" / "README.md").read_text()
    assert "a place where 2.0 % are" in card
    assert f"`sigmoid(1 * logit(p) - {-moved.move.intercept:.6g})`" in card
    assert "logit(p)" not in (tmp_path / "hub" / "bundle" / "MODEL_CARD.md").read_text()


def test_the_difference_that_is_said_is_from_the_bundle_itself_not_from_its_rounded_copy(
    bundle: Bundle, tmp_path: Path
) -> None:
    pytest.importorskip("timm")
    made = export_huggingface(bundle, tmp_path / "hub", ExportOptions(license="mit"))
    squares = check_squares(bundle.size)
    before, after = (
        Scorer(one, views=1).member_probabilities(squares)
        for one in (bundle, bundle_of(tmp_path / "hub"))
    )
    assert made.largest >= np.abs(after - before).max() > 1e-6
    again = export_huggingface(
        bundle_of(tmp_path / "hub"), tmp_path / "again", ExportOptions(license="mit")
    )
    assert again.largest < made.largest  # byte by byte: nothing is rounded once more


def test_a_bundle_that_was_augmented_by_an_own_file_goes_without_it(
    bundle: Bundle, tmp_path: Path
) -> None:
    """Training alone runs the file, and only its run keeps it."""
    pytest.importorskip("timm")
    run = tmp_path / "run"
    shutil.copytree(bundle.folder, run)
    recipe = yaml.safe_load((run / "recipe.yaml").read_text())
    step = {"file": "mine.py", "sha256": "0" * 64, "p": 0.5}
    write_text(run / "recipe.yaml", yaml.safe_dump({**recipe, "augment": [{"own": step}]}))
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["sha256"]["recipe.yaml"] = sha256_of(run / "recipe.yaml")
    write_json(run / "manifest.json", manifest)
    export_huggingface(load_bundle(run), tmp_path / "hub", ExportOptions(license="mit"))
    assert "model-index" in (tmp_path / "hub" / "README.md").read_text()
    assert bundle_of(tmp_path / "hub").members


def melanoma_of(scorer: Scorer, squares: Any) -> Any:
    return scorer.member_probabilities(squares).mean(axis=1)[:, 1]


def bundle_of(folder: Path) -> Bundle:
    return load_bundle(folder / "bundle")


def test_no_patient_and_no_name_is_published(hub_folder: Path, bundle_folder: Path) -> None:
    assert (bundle_folder / "oof.csv").is_file()
    names = {path.name for path in hub_folder.rglob("*") if path.is_file()}
    assert not {"oof.csv", "training_images.csv"} & names
    assert json.loads((hub_folder / "bundle/report.json").read_text())["largest_errors"] == []


def test_a_shipped_bundle_goes_along_byte_by_byte_with_its_license(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = SHIPPED
    # Not compared here: five networks, twice. benchmarks/exports.py does.
    monkeypatch.setattr(huggingface, "_timm_members", lambda bundle: {})
    exported = export_huggingface(load_bundle(source), tmp_path / "hub", ExportOptions())
    copied = tmp_path / "hub/bundle"
    named = [*json.loads((source / "manifest.json").read_text())["sha256"], "manifest.json"]
    for name in named:
        assert (copied / name).read_bytes() == (source / name).read_bytes(), name
    assert exported.license_id == "cc-by-nc-4.0"
    assert (tmp_path / "hub/LICENSE.md").is_file()
    # As no timm model was made: the card says so, and to whoever exports.
    _, meta, text = (tmp_path / "hub/README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(meta)["library_name"] == "melanoma"
    assert "only the library melanoma reads it" in text and "create_model" not in text
    assert "melanoma.load alone" in exported.notes[0]
    elsewhere = load_bundle(source).report.external_results
    assert elsewhere and len(yaml.safe_load(meta)["model-index"][0]["results"]) == 1 + len(
        elsewhere
    )
