"""A report's figures are written whole or not at all, and never through a link."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from PIL import Image

from melanoma.evaluation.render.figures import save_figures
from melanoma.evaluation.report.schema import ReportContent, validate_report

SHIPPED = Path(__file__).parents[2] / "weights" / "ham10000_mobilenet"


@pytest.fixture
def content() -> ReportContent:
    return validate_report(json.loads((SHIPPED / "report.json").read_text()))


def test_a_figure_that_breaks_off_leaves_the_one_before(
    content: ReportContent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = save_figures(content, tmp_path)
    real = Figure.savefig

    def break_off(self: Figure, place: Any, **options: Any) -> None:
        real(self, place, **options)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", break_off)
    for path in first:
        path.write_bytes(b"the figure before")
    with pytest.raises(OSError, match="No space"):
        save_figures(content, tmp_path)
    assert {path.read_bytes() for path in first} == {b"the figure before"}
    assert sorted(tmp_path.iterdir()) == sorted(first), "nothing half written lies about"


def test_a_link_in_a_figures_place_is_replaced_and_not_followed(
    content: ReportContent, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.write_text("mine")
    folder = tmp_path / "figures"
    folder.mkdir()
    (folder / "report.png").symlink_to(other)
    for path in save_figures(content, folder):
        assert not path.is_symlink()
        with Image.open(path) as image:
            assert image.format == "PNG"
    assert other.read_text() == "mine"
