"""figures/NAME.svg: each chart of a report as a file of its own, light or dark as the reader is."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from html import unescape
from pathlib import Path

from melanoma.evaluation.number_format import in_percent, plural
from melanoma.evaluation.render.charts import LETTERS, NAMES, draw_charts
from melanoma.evaluation.render.svg import text
from melanoma.evaluation.report.schema import ReportContent
from melanoma.storage import write_text

CHARTS_CSS = Path(__file__).parent / "templates" / "charts.css"
OVERVIEW = ("roc", "pr", "after", "classes")
# What versions before 0.2 drew.
_FORMER = ("roc.png", "pr.png", "reliability.png", "classes.png", "report.png")
_LIGHT = {
    "back": "#ffffff",
    "ink": "#1f2933",
    "soft": "#52606d",
    "edge": "#d3dce3",
    "accent": "#0f6b8c",
    "mark": "#7b8794",
}
_DARK = {
    "back": "#10171d",
    "ink": "#e6edf2",
    "soft": "#a9b6c2",
    "edge": "#33414d",
    "accent": "#6cc0de",
    "mark": "#8796a3",
}
_EDGE, _GAP, _NOTES = 16, 28, 3  # units, units, notes in a row of one chart's width


def save_figures(content: ReportContent, folder: Path) -> list[Path]:
    """NAME.svg of every chart of report.html, and report.svg with OVERVIEW's side by side.

    A chart that the content has no numbers for is not drawn; without any there is no report.svg
    either. What an earlier report left there is removed.
    """
    charts = draw_charts(content)
    points = [
        f"{letter} {in_percent(p.at)}"
        for letter, p in zip(LETTERS, content.thresholds, strict=False)
    ]
    files = {
        name: as_file([chart], notes=points if name in ("roc", "pr") else ())
        for name, chart in charts.items()
    }
    row = [charts[name] for name in OVERVIEW if name in charts]
    if row:
        files["report"] = as_file(
            row, heading=_heading(content), notes=points if "roc" in charts else ()
        )
    for name, svg in files.items():
        write_text(folder / f"{name}.svg", svg)
    remove_stale(folder, [f"{name}.svg" for name in files])
    return [folder / f"{name}.svg" for name in files]


def remove_stale(folder: Path, written: Collection[str]) -> None:
    """Remove the charts that an earlier report left in `folder`; `written` are this one's files."""
    for name in (*(f"{name}.svg" for name in (*NAMES, "report")), *_FORMER):
        if name not in written:
            (folder / name).unlink(missing_ok=True)


def as_file(charts: Sequence[str], *, heading: str = "", notes: Sequence[str] = ()) -> str:
    """Charts from left to right, each below its title, and notes below them, as one SVG.

    It brings its styles. Colors stand there as numbers, as not every viewer knows variables.
    """
    top = _EDGE + (32.0 if heading else 0.0)
    marks = [text(_EDGE, top - 14, heading, "heading")] if heading else []
    x, height = float(_EDGE), 0.0
    for chart in charts:
        (title, box) = _found("<title[^>]*>(.*?)</title>", chart), _found('viewBox="(.*?)"', chart)
        _, _, w, h = map(float, box.split())
        marks.append(text(x, top + 12, unescape(title), "heading"))
        place = f'x="{x:g}" y="{top + 28:g}" width="{w:g}" height="{h:g}"'
        marks.append(chart.replace("<svg ", f"<svg {place} ", 1))
        x, height = x + w + _GAP, max(height, top + 28 + h)
    width = x - _GAP + _EDGE
    for row in (notes[i : i + _NOTES] for i in range(0, len(notes), _NOTES)):
        height += 18
        marks += [text(_EDGE + i * 124, height, note, "soft") for i, note in enumerate(row)]
    size = (width, height + _EDGE)
    style = f"{_css(_LIGHT)}@media (prefers-color-scheme: dark) {{\n{_css(_DARK)}}}\n"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" width="{size[0]:g}" '
        f'height="{size[1]:g}" viewBox="0 0 {size[0]:g} {size[1]:g}">\n'
        f"<style>\n{style}</style>{''.join(marks)}</svg>\n"
    )


def _found(pattern: str, chart: str) -> str:
    match = re.search(pattern, chart)
    assert match is not None
    return match[1]


def _css(colors: dict[str, str]) -> str:
    rules = re.sub(r"/\*.*?\*/\s*", "", CHARTS_CSS.read_text(encoding="utf-8"), flags=re.DOTALL)
    for name, color in colors.items():
        rules = rules.replace(f"var(--chart-{name})", color)
    # As on the page, an axis' last number may stand out of its chart by half.
    own = f"svg {{ background: {colors['back']}; font-family: system-ui, sans-serif; }}\n"
    return f"{own}svg svg {{ overflow: visible; }}\n{rules}"


def _heading(content: ReportContent) -> str:
    data = content.data
    positives = "" if data.positives is None else f"{plural(data.positives, 'melanoma')}, "
    scored = "out-of-fold scores" if content.external is None else "scores"
    return (
        f"{content.recipe}: {scored} of {plural(data.images, 'image')}, "
        f"{positives}{plural(data.groups, 'group')}"
    )
