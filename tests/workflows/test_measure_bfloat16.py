"""What bfloat16 changes of a run: measured on its held-out images, sealed, and told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_bundle import TinyRun

from melanoma.data.folds import load_folds
from melanoma.devices import CPU
from melanoma.errors import DataError, RecipeError
from melanoma.evaluation.render.text import report_lines
from melanoma.evaluation.report.assemble import retarget_report
from melanoma.scoring.backends.backend_catalog import PRECISIONS, Engine
from melanoma.scoring.bundle.bundle import load_bundle
from melanoma.scoring.bundle.golden import open_scorer
from melanoma.scoring.held_out import score_by_all
from melanoma.workflows.evaluate import evaluate_folds
from melanoma.workflows.measure_bfloat16 import require_measurable
from melanoma.workflows.watch import SILENT


@pytest.fixture
def able(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch computes in it on any processor, if slowly."""
    monkeypatch.setattr("melanoma.devices.has_bfloat16", lambda: True)


@pytest.mark.usefixtures("able")
def test_it_is_measured_on_every_held_out_image_and_sealed(trained: TinyRun, copied: Path) -> None:
    base, before = trained.folder.parent, load_bundle(copied)
    report = evaluate_folds(
        trained.recipe, copied, base / "folds.csv", arrays=base / "arrays", bfloat16=CPU
    )
    bundle = load_bundle(copied)
    found = bundle.report.bfloat16
    assert found is not None and found == report.content.bfloat16
    assert bundle.digest != before.digest
    assert bundle.golden == before.golden
    frame = load_folds(base / "folds.csv").frame
    rows = np.array([trained.array.row_of[name] for name in frame["image_name"]])
    scorers = [open_scorer(copied, engine=Engine(precision=one)) for one in PRECISIONS]
    each = [score_by_all(scorer, trained.array, rows) for scorer in scorers]
    assert found.backend == scorers[0].members.backend
    moved = each[1] - each[0]
    largest = np.abs(moved.mean(axis=1)).max()
    assert found.member_change == pytest.approx(np.abs(moved).max(), abs=1e-4)
    assert found.images == len(rows) == bundle.report.data.images
    assert largest > 0
    assert found.largest_change == pytest.approx(largest, abs=1e-4)
    assert found.auroc == pytest.approx(bundle.report.metrics["auroc"].value, abs=1e-6)
    said = f"in bfloat16, on {len(rows)} held-out images a probability changes by"
    assert any(line.startswith(said) for line in report_lines(bundle.report))
    for text in ("report.html", "MODEL_CARD.md"):
        assert f"on {len(rows)} held-out images a probability" in (copied / text).read_text()
    said_again: list[str] = []
    watch = replace(SILENT, say=said_again.append)
    evaluate_folds(trained.recipe, copied, base / "folds.csv", watch=watch)
    assert any(line.startswith("warning: what bfloat16 changes is dropped") for line in said_again)
    assert load_bundle(copied).report.bfloat16 is None
    # Moved to another share of melanomas its probabilities move otherwise.
    assert retarget_report(bundle.report, 0.02).bfloat16 is None


@pytest.mark.usefixtures("able")
def test_without_the_array_the_bundle_is_sealed_and_that_is_said(
    trained: TinyRun, copied: Path, tmp_path: Path
) -> None:
    folds = trained.folder.parent / "folds.csv"
    with pytest.raises(DataError, match="needs the array that the folds were trained on"):
        evaluate_folds(trained.recipe, copied, folds, arrays=tmp_path / "none", bfloat16=CPU)
    assert load_bundle(copied).report.bfloat16 is None


def test_it_is_refused_before_anything_is_computed(
    trained: TinyRun, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("melanoma.devices.has_bfloat16", lambda: False)
    before = (copied / "manifest.json").read_bytes()
    with pytest.raises(RecipeError, match="no bfloat16 of its own"):
        evaluate_folds(trained.recipe, copied, Path("no folds"), bfloat16=CPU)
    assert (copied / "manifest.json").read_bytes() == before
    given = trained.recipe.model_copy(
        update={"model": trained.recipe.model.model_copy(update={"embeddings": Path("e.npy")})}
    )
    with pytest.raises(RecipeError, match="no network to score with"):
        require_measurable(given, CPU)
