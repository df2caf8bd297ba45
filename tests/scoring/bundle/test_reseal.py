"""An external result is sealed beside the bundle's own figures, and stands wherever they do."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from melanoma.errors import RecipeError, WeightsError
from melanoma.evaluation.render.text import report_lines
from melanoma.evaluation.report.external_results import external_result, with_external
from melanoma.evaluation.report.schema import ExternalResult
from melanoma.evaluation.report.schema_parts import Measured
from melanoma.scoring.bundle.bundle import Bundle, load_bundle
from melanoma.scoring.bundle.reseal import reseal
from melanoma.scoring.files.score_files import LocalScorer
from melanoma.scoring.files.spoken import common_lines
from melanoma.scoring.scorer import Scorer
from melanoma.training.run.survey import summarize_run
from melanoma.workflows.evaluate import tell_dropped_results
from melanoma.workflows.watch import SILENT

RESULT = ExternalResult(
    name="elsewhere",
    source="St. Elsewhere",
    date="2026-11-27",
    images=1144,
    positives=584,
    patients=777,
    auroc=Measured(value=0.311, low=0.3, high=0.32),
    at="sensitivity 0.95",
    threshold=0.03,
    sensitivity=Measured(value=0.627, low=0.584, high=0.669),
    specificity=Measured(value=0.673, low=0.632, high=0.714),
    warnings=("half of them are melanomas",),
)


def seal_external(bundle: Bundle, result: ExternalResult) -> Bundle:
    return reseal(bundle, with_external(bundle.report, result))


def test_it_stands_wherever_the_bundles_own_figures_do(copied: Path) -> None:
    before = load_bundle(copied)
    for text in ("report.html", "MODEL_CARD.md"):
        assert "St. Elsewhere" not in (copied / text).read_text()
    bundle = seal_external(before, RESULT)
    assert bundle.report.external_results == (RESULT,)
    assert json.loads((copied / "manifest.json").read_text())["external"][0]["images"] == 1144
    for text in ("report.html", "MODEL_CARD.md"):
        assert "St. Elsewhere" in (copied / text).read_text()
    assert "Elsewhere it is worse: on 1,144 images of St. Elsewhere" in bundle.report.summary
    assert any(line.startswith("elsewhere, St. Elsewhere") for line in report_lines(bundle.report))
    assert [found["name"] for found in summarize_run(copied).external] == ["elsewhere"]


def test_the_bundle_scores_as_before_under_another_digest(copied: Path) -> None:
    before = load_bundle(copied)
    after = seal_external(before, RESULT)
    assert (after.golden, after.thresholds, after.calibration) == (
        before.golden,
        before.thresholds,
        before.calibration,
    )
    assert after.digest != before.digest


def test_evaluate_warns_that_it_drops_it(copied: Path) -> None:
    said: list[str] = []
    watch = replace(SILENT, say=said.append)
    tell_dropped_results(copied, watch)
    assert said == [], "nothing was attached yet"
    seal_external(load_bundle(copied), RESULT)
    tell_dropped_results(copied, watch)
    assert len(said) == 1
    assert "(elsewhere) are dropped" in said[0]
    assert "--attach" in said[0]
    # Said again at once, nothing is lost; of another training it is its runs that are named.
    tell_dropped_results(copied, watch, [RESULT])
    assert len(said) == 1
    without = RESULT.model_copy(update={"without": "somewhere"})
    seal_external(load_bundle(copied), without)
    tell_dropped_results(copied, watch, [RESULT])
    assert "--left-out" in said[-1] and "--attach" not in said[-1]
    tell_dropped_results(copied, watch, [RESULT, without])
    assert len(said) == 2


def test_predict_has_it_for_its_closing_lines(copied: Path) -> None:
    scorer = LocalScorer(Scorer(seal_external(load_bundle(copied), RESULT)))
    line = common_lines({"threshold": None}, scorer.elsewhere)[0]
    assert "sensitivity 62.7%, specificity 67.3%, AUROC 0.311 on 1,144 images of St. E" in line


def test_a_later_result_of_the_same_set_takes_its_place(copied: Path) -> None:
    bundle = seal_external(load_bundle(copied), RESULT)
    later = RESULT.model_copy(update={"date": "2026-12-01"})
    assert seal_external(bundle, later).report.external_results == (later,)


def test_a_manifest_that_says_otherwise_is_refused(copied: Path) -> None:
    seal_external(load_bundle(copied), RESULT)
    manifest = json.loads((copied / "manifest.json").read_text())
    manifest["external"][0]["auroc"]["value"] = 0.99
    (copied / "manifest.json").unlink()
    (copied / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(WeightsError, match="external"):
        load_bundle(copied)


def test_a_report_of_the_bundles_own_images_is_none(bundle_folder: Path) -> None:
    with pytest.raises(RecipeError, match="no report on an external set"):
        external_result(load_bundle(bundle_folder).report)
