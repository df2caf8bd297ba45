"""What a manifest repeats is what its report and recipe say, and no more."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from made_content import context_stack

from melanoma.errors import WeightsError
from melanoma.evaluation.report.assemble import retarget_report
from melanoma.evaluation.report.schema_patients import PatientContext
from melanoma.scoring.bundle.bundle import load_bundle
from melanoma.scoring.bundle.reseal import reseal
from melanoma.scoring.bundle.shipped_copy import ship_bundle
from melanoma.scoring.bundle.statement import make_statement, restated
from melanoma.training.run.run_folder import read_recipe


def test_another_report_takes_away_what_it_does_not_say(bundle_folder: Path) -> None:
    """A context's stack was fitted on log-odds that a moved bundle does not serve."""
    bundle, recipe = load_bundle(bundle_folder), read_recipe(bundle_folder)
    before = json.loads((bundle_folder / "manifest.json").read_text())
    there = retarget_report(bundle.report, 0.02)
    found = restated({**before, "context": {"of": "before"}, "external": []}, recipe, there)
    assert "context" not in found and "external" not in found
    assert found == {
        **make_statement(recipe, there),
        **{name: before[name] for name in ("members", "decoder", "view_order", "sha256")},
    }
    assert found["move"]["prevalence"] == 0.02 and "move" not in before
    assert found["calibration"] == before["calibration"]


def test_a_bundle_that_knows_a_patient_s_lesions_can_be_moved(
    bundle_folder: Path, tmp_path: Path
) -> None:
    stack = context_stack(0.0, 1.0, {"percentile": 1.0})
    bundle = load_bundle(Path(shutil.copytree(bundle_folder, tmp_path / "own")))
    known = PatientContext(status="it helps", gain=stack.gain, stack=stack)
    sealed = reseal(bundle, bundle.report.model_copy(update={"patients": known}))
    assert sealed.context == stack
    assert ship_bundle(sealed, tmp_path / "moved", prevalence=0.02).bundle.context is None


def test_a_copy_that_an_older_version_moved_member_by_member_is_not_read(
    bundle_folder: Path, tmp_path: Path
) -> None:
    moved = ship_bundle(load_bundle(bundle_folder), tmp_path / "moved", prevalence=0.02).bundle
    folder = Path(shutil.copytree(moved.folder, tmp_path / "old"))
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["move"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(WeightsError, match="make it again of the bundle that it is a copy of"):
        load_bundle(folder)
