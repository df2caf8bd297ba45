"""melanoma.load: a bundle's folder, or a folder that holds one, as a Scorer that was verified."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch

import melanoma
from melanoma.errors import RecipeError, WeightsError
from melanoma.scoring.load import load


@pytest.fixture
def exported(bundle_folder: Path, tmp_path: Path) -> Path:
    """As a Hugging Face folder has it: the bundle below, other files beside."""
    shutil.copytree(bundle_folder, tmp_path / "hub/bundle", copy_function=os.link)
    (tmp_path / "hub/README.md").write_text("a card")
    return tmp_path / "hub"


def test_an_exported_folder_and_a_bundle_score_alike(
    exported: Path, bundle_folder: Path, photograph: bytes
) -> None:
    assert melanoma.load is load
    ours = load(exported, backend="torch").score(photograph)
    plain = load(str(bundle_folder), backend="torch").score(photograph)
    assert ours.as_dict() == plain.as_dict()


def test_a_bundle_that_holds_another_is_itself(exported: Path, bundle_folder: Path) -> None:
    shutil.copytree(bundle_folder, exported.parent / "outer", copy_function=os.link)
    shutil.copytree(exported, exported.parent / "outer/bundle/x")
    (exported.parent / "outer/bundle/manifest.json").write_text("{}")
    assert load(exported.parent / "outer", backend="torch").bundle.folder.name == "outer"


def test_the_views_and_the_device_are_those_that_were_asked_for(
    bundle_folder: Path, photograph: bytes
) -> None:
    cpu = torch.device("cpu")
    one = load(bundle_folder, views=1, device=cpu, backend="torch")
    eight = load(bundle_folder, views=8, backend="torch")
    assert (one.views, eight.views) == (1, 8)
    assert one.device is cpu
    assert eight.device.type == "cpu"
    found = (scorer.score(photograph).melanoma_probability for scorer in (one, eight))
    assert len(set(found)) == 2


@pytest.mark.parametrize("below", ["", "bundle"])
def test_a_folder_without_a_bundle_is_refused(below: str, tmp_path: Path) -> None:
    (tmp_path / below).mkdir(exist_ok=True)
    with pytest.raises(WeightsError, match="no bundle in"):
        load(tmp_path)


def test_a_damaged_bundle_is_refused_also_below_an_exported_folder(exported: Path) -> None:
    weights = exported / "bundle/fold_1/model.safetensors"
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.unlink()  # a link: the fixture's own stays
    weights.write_bytes(data)
    with pytest.raises(WeightsError, match="fold_1"):
        load(exported, backend="torch")


def test_a_backend_that_is_none_is_refused(bundle_folder: Path) -> None:
    with pytest.raises(RecipeError, match="torch"):
        load(bundle_folder, backend="tensorflow")
