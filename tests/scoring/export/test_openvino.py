"""OpenVINO's IR: the bundle's probabilities where neither melanoma nor torch can be imported."""

from __future__ import annotations

from pathlib import Path

import pytest
from apart import run_apart
from small_disk import files_of_at_most

from melanoma.errors import DiskError
from melanoma.scoring.bundle.bundle import Bundle
from melanoma.scoring.export.export_options import ExportOptions
from melanoma.scoring.export.openvino import export_openvino
from melanoma.scoring.scorer import Scorer

pytestmark = pytest.mark.slow  # together they take many seconds


def test_openvino_alone_scores_as_the_bundle_does_with_the_views_that_were_asked_for(
    bundle: Bundle, photograph: bytes, tmp_path: Path
) -> None:
    exported = export_openvino(bundle, tmp_path / "ir", ExportOptions(views=2))
    assert exported.largest <= 1e-4
    (tmp_path / "photograph.jpg").write_bytes(photograph)
    [answer] = run_apart(tmp_path / "ir" / "score.py", tmp_path / "photograph.jpg")
    ours = Scorer(bundle, views=2).score(photograph)
    assert answer["melanoma_probability"] == pytest.approx(ours.melanoma_probability, abs=1e-4)
    page = (tmp_path / "ir/README.md").read_text()
    assert f"the evaluation had {bundle.views}" in page


def test_a_full_disk_is_said_with_the_file_and_leaves_no_folder(
    bundle: Bundle, tmp_path: Path
) -> None:
    """OpenVINO itself says "iostream error"."""
    said = r"cannot write .*/model\.xml: .*bytes free, [1-9][\d,]+ needed"
    with files_of_at_most(10_000), pytest.raises(DiskError, match=said):
        export_openvino(bundle, tmp_path / "ir", ExportOptions())
    assert not list(tmp_path.iterdir())
