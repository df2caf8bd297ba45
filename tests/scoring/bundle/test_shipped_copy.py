"""The half-size copy: the same answers up to rounding, whole by itself, nothing private in it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file
from scipy.special import logit

from melanoma.data.name_digests import training_name_digest
from melanoma.errors import RecipeError, StorageError
from melanoma.recipe.overrides import make_recipe, read_values
from melanoma.scoring.bundle.bundle import load_bundle
from melanoma.scoring.bundle.golden import check_golden
from melanoma.scoring.bundle.novelty_file import NOVELTY
from melanoma.scoring.bundle.shipped_copy import Shipped, ship_bundle
from melanoma.scoring.scorer import Scorer
from melanoma.storage import sha256_of

pytestmark = pytest.mark.slow  # it trains, serves or reads photographs


@pytest.fixture(scope="module")
def shipped(trained: Any, tmp_path_factory: pytest.TempPathFactory) -> Shipped:
    folder = tmp_path_factory.mktemp("shipped")
    (folder / "LICENCE.txt").write_text("non-commercial\n")
    bundle = load_bundle(trained.folder)
    return ship_bundle(bundle, folder / "copy", notes=[folder / "LICENCE.txt"])


def test_the_copy_answers_as_the_bundle_does_up_to_half_precision(
    trained: Any, shipped: Shipped
) -> None:
    squares = trained.array.rows(range(0, 64, 3))
    before = Scorer(load_bundle(trained.folder)).member_probabilities(squares)
    after = Scorer(shipped.bundle).member_probabilities(squares)
    assert 0 < np.abs(before - after).max() < 5e-3
    assert 0 < shipped.largest < 5e-2


def test_a_copy_of_a_copy_keeps_its_license_unless_another_is_given(
    shipped: Shipped, tmp_path: Path
) -> None:
    again = ship_bundle(shipped.bundle, tmp_path / "again", prevalence=0.02).bundle
    assert (again.folder / "LICENCE.txt").read_text() == "non-commercial\n"
    assert "LICENCE.txt" in json.loads((again.folder / "manifest.json").read_text())["sha256"]
    assert not (again.folder / "oof.csv").exists()
    (tmp_path / "LICENCE.txt").write_text("mine\n")
    given = ship_bundle(again, tmp_path / "given", notes=[tmp_path / "LICENCE.txt"]).bundle
    assert (given.folder / "LICENCE.txt").read_text() == "mine\n"


def test_kernels_are_halved_and_statistics_are_not(trained: Any, shipped: Shipped) -> None:
    for here, there in zip(
        load_bundle(trained.folder).members, shipped.bundle.members, strict=True
    ):
        whole, half = load_file(here.file), load_file(there.file)
        for name, tensor in whole.items():
            kind = "torch.float16" if tensor.ndim > 1 else str(tensor.dtype)
            assert str(half[name].dtype) == kind
            exact = (half[name].float() == tensor.float()).all()
            assert exact or tensor.ndim > 1
    whole_bytes = sum(m.file.stat().st_size for m in load_bundle(trained.folder).members)
    assert shipped.member_bytes < 0.55 * whole_bytes


def test_the_copy_stands_alone_and_keeps_calibration_and_thresholds(
    trained: Any, shipped: Shipped, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(shipped.bundle.folder, elsewhere)
    bundle, here = load_bundle(elsewhere), load_bundle(trained.folder)
    assert bundle.digest == shipped.bundle.digest != here.digest
    assert (bundle.calibration, bundle.thresholds) == (here.calibration, here.thresholds)
    assert check_golden(Scorer(bundle)).holds
    assert (elsewhere / "LICENCE.txt").read_text() == "non-commercial\n"


def test_of_the_table_of_patients_digests_of_names_and_folds_alone_go_along(
    trained: Any, shipped: Shipped, tmp_path: Path
) -> None:
    (table,) = shipped.bundle.folder.rglob("*.csv")
    folds = trained.parts[0].folds.frame
    # Beside each name's digest which member never saw it.
    rows = sorted(f"{training_name_digest(r.image_name)},{r.fold}" for r in folds.itertuples())
    assert table.read_text().splitlines() == ["image_name,fold", *rows]
    again = ship_bundle(shipped.bundle, tmp_path / "again")
    assert (again.bundle.folder / table.name).read_text() == table.read_text()


def test_a_copy_for_another_place_flags_the_same_images_at_its_prevalence(
    trained: Any, shipped: Shipped, tmp_path: Path
) -> None:
    there = ship_bundle(shipped.bundle, tmp_path / "there", prevalence=0.02).bundle
    here = shipped.bundle
    assert there.digest != here.digest
    assert there.prevalence == 0.02
    squares = trained.array.rows(range(0, 64, 3))
    ours, theirs = Scorer(here).score_squares(squares), Scorer(there).score_squares(squares)
    assert [one.flagged for one in ours] == [one.flagged for one in theirs]
    factor = logit(0.02) - logit(here.prevalence)
    moved = [logit(b.by_fold[0]) - logit(a.by_fold[0]) for a, b in zip(ours, theirs, strict=True)]
    assert np.allclose(moved, factor, atol=1e-6)
    report = json.loads((there.folder / "report.json").read_text())
    assert report["retargeted"]["prevalence"] == 0.02
    assert report["metrics"] == here.report.model_dump()["metrics"]
    assert report["created"] == here.report.created
    for name in ("report.html", "MODEL_CARD.md"):
        assert (there.folder / name).read_text() != (here.folder / name).read_text()
    with pytest.raises(RecipeError, match="prevalence"):
        ship_bundle(here, tmp_path / "nowhere", prevalence=1.5)
    assert not (tmp_path / "nowhere").exists()


def test_the_copy_names_no_folder_of_the_machine_that_trained_it(
    trained: Any, shipped: Shipped, tmp_path: Path
) -> None:
    here = tmp_path / "here"
    shutil.copytree(trained.folder, here)
    recipe, manifest = here / "recipe.yaml", json.loads((here / "manifest.json").read_text())
    own = f"  - own: {{file: mine.py, sha256: {'a' * 64}, p: 0.5}}"  # no such file goes along
    typed = recipe.read_text().replace("pretrained: none", "pretrained: /home/ann/fold_{fold}.pth")
    recipe.write_text(typed.replace("augment: []", f"augment:\n{own}"))
    manifest["sha256"]["recipe.yaml"] = sha256_of(recipe)
    (here / "manifest.json").write_text(json.dumps(manifest))
    copy = ship_bundle(load_bundle(here), tmp_path / "copy", prevalence=0.02).bundle
    said = (copy.folder / "recipe.yaml").read_text()
    assert "pretrained: fold_{fold}.pth" in said and "mine.py" in said and "/home" not in said
    digests = [make_recipe(read_values(f / "recipe.yaml")).digest() for f in (here, copy.folder)]
    assert digests[0] == digests[1]
    # Where there is none to leave out the file is the same, byte for byte.
    assert sha256_of(shipped.bundle.folder / "recipe.yaml") == sha256_of(
        trained.folder / "recipe.yaml"
    )


def test_a_license_that_is_not_utf_8_is_refused_and_any_other_note_is_taken(
    shipped: Shipped, tmp_path: Path
) -> None:
    license_text, other = tmp_path / "LICENSE.md", tmp_path / "note.txt"
    for note in (license_text, other):
        note.write_bytes("© Klinik München".encode("latin-1"))
    with pytest.raises(RecipeError, match=r"LICENSE.md is not UTF-8; save it as UTF-8"):
        ship_bundle(shipped.bundle, tmp_path / "copy", notes=[license_text])
    assert not (tmp_path / "copy").exists()
    ship_bundle(shipped.bundle, tmp_path / "copy", notes=[other])
    assert (tmp_path / "copy" / "note.txt").read_bytes() == other.read_bytes()


def test_a_note_that_is_not_there_is_refused_before_anything_is_written(
    shipped: Shipped, tmp_path: Path
) -> None:
    with pytest.raises(StorageError, match="no such file to go along"):
        ship_bundle(shipped.bundle, tmp_path / "copy", notes=[tmp_path / "LICENSE.md"])
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("name", ["report.json", "manifest.json", "LICENSE.md"])
def test_a_note_takes_no_other_file_s_place(shipped: Shipped, tmp_path: Path, name: str) -> None:
    notes = [tmp_path / folder / name for folder in ("a", "b")]
    for note in notes:
        note.parent.mkdir()
        note.write_text(f"of {note.parent.name}")
    with pytest.raises(RecipeError, match=f"another {name}"):
        ship_bundle(shipped.bundle, tmp_path / "copy", notes=notes)
    assert not (tmp_path / "copy").exists()


def test_a_folder_that_holds_something_is_left_alone(trained: Any, shipped: Shipped) -> None:
    with pytest.raises(StorageError, match="exists"):
        ship_bundle(load_bundle(trained.folder), shipped.bundle.folder)


def test_what_an_earlier_sealing_left_behind_does_not_go_along(
    trained: Any, tmp_path: Path
) -> None:
    """A measure of novelty that the manifest does not name belongs to other members."""
    shutil.copytree(trained.folder, tmp_path / "weights")
    (tmp_path / "weights" / NOVELTY).write_bytes(b"of other members")
    bundle = load_bundle(tmp_path / "weights")
    assert bundle.novelty is None, "this test is of a bundle without one"
    copy = ship_bundle(bundle, tmp_path / "copy").bundle
    assert not (copy.folder / NOVELTY).exists()
    assert NOVELTY not in json.loads((copy.folder / "manifest.json").read_text())["sha256"]
