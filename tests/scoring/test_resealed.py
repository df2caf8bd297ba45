"""benchmarks.reseal_shipped: what is said anew of the shipped model's results elsewhere."""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks.reseal_shipped import retell
from benchmarks.shipped import RESULTS
from melanoma.evaluation.report.schema import ReportContent


def test_warnings_of_sets_from_elsewhere_are_said_in_today_s_words(tmp_path: Path) -> None:
    """Probabilities refer to the share of the training set, whatever the other set's is."""
    folder = tmp_path / "external"
    shutil.copytree(RESULTS / "external", folder)
    told = retell(folder)
    assert set(told) == {"isic2017_train", "siim2020"}
    for warnings in told.values():
        (share,) = [one for one in warnings if "far more than a clinic sees" in one]
        assert share.endswith("refer to that share, probabilities to one of 11.1 %")
    for path in folder.glob("*/report.json"):
        old, new = (
            ReportContent.model_validate_json((where / path.parent.name / path.name).read_bytes())
            for where in (RESULTS / "external", folder)
        )
        assert new == old.model_copy(update={"warnings": new.warnings, "summary": new.summary})
        assert "probabilities to one of 11.1 %" in path.with_name("report.html").read_text()
