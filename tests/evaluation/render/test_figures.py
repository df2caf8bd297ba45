"""figures/*.svg: the drawings of report.html, each a file that shows without anything else."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from made_content import SEVEN, TWENTY_TWO, binary, many, undefined

from melanoma.evaluation.number_format import in_percent
from melanoma.evaluation.render.charts import NAMES, draw_charts
from melanoma.evaluation.render.figures import save_figures
from melanoma.evaluation.render.html import render_html

CURVES = {
    *("flow", "roc", "pr", "before", "after", "benefit", "subgroups", "shortcuts", "report"),
}
LOW = {"after_low", "benefit_low"}  # of a threshold below 10 %


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (binary, CURVES | LOW),
        (lambda: many(SEVEN, ("melanoma",)), CURVES | LOW | {"classes"}),
        (lambda: many(TWENTY_TWO), {"flow", "before", "after", "classes", "report"}),
        (undefined, {"flow", "shortcuts"}),
    ],
    ids=["binary", "seven", "twenty-two", "undefined"],
)
def test_each_file_holds_the_very_drawing_of_the_page(made, expected, tmp_path: Path) -> None:
    content = made().content
    files = {path.stem: path.read_text() for path in save_figures(content, tmp_path)}
    assert set(files) == expected <= {*NAMES, "report"}
    page = render_html(content)
    for name, chart in draw_charts(content).items():
        assert chart in page
        assert chart.split(" ", 1)[1] in files[name]
    for svg in files.values():
        ElementTree.fromstring(svg)


def test_a_file_has_its_colors_for_light_and_dark_and_asks_for_nothing(tmp_path: Path) -> None:
    for path in save_figures(many(SEVEN, ("melanoma",)).content, tmp_path):
        svg = path.read_text()
        light, dark = re.split(r"@media \(prefers-color-scheme: dark\)", svg)
        assert "#0f6b8c" in light
        assert "#6cc0de" in dark
        assert "var(" not in svg
        assert not re.search(r"href|@import|url\((?!#)|<script", svg)


def test_a_file_says_what_its_letters_stand_for(tmp_path: Path) -> None:
    content = binary().content
    save_figures(content, tmp_path)
    for name in ("roc", "pr", "report"):
        svg = (tmp_path / f"{name}.svg").read_text()
        for letter, point in zip("ABCDE", content.thresholds, strict=False):
            assert f">{letter} {in_percent(point.at)}</text>" in svg


def test_what_an_earlier_report_drew_is_removed_and_nothing_else_is(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("mine")
    for name in ("roc.png", "report.png", "classes.svg", "largest_errors.png", "mine.svg"):
        (tmp_path / name).write_text("old")
    (tmp_path / "roc.svg").symlink_to(other)
    written = save_figures(binary().content, tmp_path)
    kept = {path.name for path in tmp_path.iterdir()} - {path.name for path in written}
    assert kept == {"other", "largest_errors.png", "mine.svg"}
    assert not (tmp_path / "roc.svg").is_symlink()
    assert other.read_text() == "mine"
