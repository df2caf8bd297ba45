"""Every report in results/ says what its own tables say, and what says otherwise is found."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.recompute import check, check_scores
from benchmarks.shipped import RESULTS as SHIPPED
from benchmarks.shipped_parts import held_out_again
from melanoma.evaluation.report.schema import ReportContent

pytestmark = pytest.mark.slow  # it trains, serves or reads photographs

RESULTS = Path(__file__).resolve().parents[3] / "results"
RUNS = sorted(path.parent for path in RESULTS.glob("*/oof.csv.gz"))
SCORED = sorted(path.parent for path in RESULTS.glob("*/**/scores.csv"))


@pytest.fixture(autouse=True)
def _without_shortcuts(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are the fold file's, so that nothing compares them, and their trees take long."""
    monkeypatch.setattr("melanoma.evaluation.report.assemble._shortcuts", lambda *_, **__: None)


@pytest.mark.parametrize("folder", RUNS, ids=lambda folder: folder.name)
def test_a_report_is_what_its_oof_file_gives(folder: Path) -> None:
    assert check(folder) == []


@pytest.mark.parametrize("folder", SCORED, ids=lambda folder: str(folder.relative_to(RESULTS)))
def test_a_report_of_other_images_is_what_its_scores_give(folder: Path) -> None:
    assert check_scores(folder) == []


def test_what_was_held_out_of_the_sources_is_what_their_scores_give() -> None:
    content = ReportContent.model_validate_json((SHIPPED / "report.json").read_bytes())
    lines = [line for line in content.sources if line.held_out]
    assert len(lines) == 2
    for line in lines:
        stated, anew = (
            pd.json_normalize(part.model_dump()).iloc[0]
            for part in (line.held_out, held_out_again(content, line.name))
        )
        # The table has seven digits.
        assert list(anew.index) == list(stated.index)
        for name in anew.index:
            assert anew[name] == pytest.approx(stated[name], abs=1e-6, nan_ok=True), name


def test_a_number_that_its_table_does_not_give_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    shutil.copytree(RESULTS / "demo", folder)
    report = json.loads((folder / "report.json").read_text())
    report["metrics"]["auroc"]["value"] += 0.001
    (folder / "report.json").write_text(json.dumps(report))
    (line,) = check(folder)
    assert line.startswith("metrics.auroc.value: ")


def test_every_row_of_the_results_page_has_its_folder_and_each_folder_its_row() -> None:
    page = (RESULTS / "README.md").read_text()
    assert [folder.name for folder in RUNS if f"({folder.name}/)" not in page] == []
