"""Forest plots of a report: AUROC with intervals, a line each, on one scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from melanoma.evaluation.number_format import measured, share
from melanoma.evaluation.render.chart_words import Words
from melanoma.evaluation.render.svg import WIDTH, dot, line, picture, text, ticks_between
from melanoma.evaluation.report.schema_parts import ClassLine, Measured, Shortcuts, SubgroupLine


class _Scale(NamedTuple):
    """Units of the picture from `left` to `right`, data from `low` to `high`."""

    left: float
    right: float
    low: float
    high: float

    def across(self, value: float) -> float:
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.left + share * (self.right - self.left)


class _Row(NamedTuple):
    heading: str
    name: str
    images: int
    auroc: Measured


def draw_shortcuts(shortcuts: Shortcuts, words: Words) -> str:
    """AUROC of the model and of what needs no photograph, with intervals, on one scale."""
    rows = [(words("the model, from the photograph"), shortcuts.model, "mark")]
    rows += [(words(row.name), row.auroc, "mark hollow") for row in shortcuts.lines]
    step = 44.0
    bottom = 14 + step * len(rows)
    scale = _scale(14.0, WIDTH - 132, [metric for _, metric, _ in rows])
    marks = _ruler(scale, bottom, shortcuts.model, words)
    for i, (name, metric, kind) in enumerate(rows):
        y, value = 14 + i * step, words.number(measured(metric))
        marks.append(text(0, y, _cut(name, 54), "label", tip=name))
        marks.append(text(WIDTH, y + 22, value, "value", anchor="end"))
        tip = words("{name}: {auroc}", name=name, auroc=value)
        marks += _interval(metric, y + 18, scale, kind, tip=tip)
    listed = "; ".join(f"{name} {words.number(measured(metric))}" for name, metric, _ in rows)
    return picture(
        "shortcuts",
        bottom + 44,
        marks,
        title=words("Shortcut baseline"),
        desc=words("AUROC with interval: {rows}.", rows=listed),
    )


def draw_subgroups(groups: Sequence[SubgroupLine], overall: Measured, words: Words) -> str:
    """AUROC with interval of every subgroup, small ones as a gray note."""
    rows = [
        _Row(
            words(group.column.replace("_", " ")),
            words.name(group.value),
            group.images,
            group.auroc,
        )
        for group in groups
    ]
    desc = words(
        "AUROC of each subgroup with its interval; dashed, all images: {all}.",
        all=measured(overall),
    )
    title = words("AUROC by subgroup")
    return _draw_rows("subgroups", rows, overall, words, title=title, desc=desc)


def draw_classes(classes: Sequence[ClassLine], words: Words) -> str:
    """AUROC of every class against the rest with its interval, the best on top."""
    best_first = sorted(classes, key=lambda row: -(row.auroc.value or 0.0))
    rows = [_Row("", words.name(row.name), row.images, row.auroc) for row in best_first]
    desc = words("AUROC of each class against the rest with its interval.")
    title = words("AUROC by class")
    return _draw_rows("classes", rows, Measured(value=None), words, title=title, desc=desc)


def _draw_rows(
    name: str, rows: Sequence[_Row], overall: Measured, words: Words, *, title: str, desc: str
) -> str:
    indent, most = (8, 18) if rows[0].heading else (0, 22)
    scale = _scale(indent + 6.35 * most, 262.0, [row.auroc for row in rows] + [overall])
    marks = [
        text(302, 14, "AUROC", "label soft", anchor="end"),
        text(WIDTH, 14, words("images"), "label soft", anchor="end"),
    ]
    y, heading = 4.0 if rows[0].heading else 14.0, ""
    for row in rows:
        if row.heading != heading:
            heading, y = row.heading, y + 24
            marks.append(text(0, y, heading, "heading"))
        y += 21
        marks.append(text(indent, y, _cut(row.name, most), "label", tip=row.name))
        size = words.number(f"{row.images:,}")
        if row.auroc.value is None:
            small = words("too small ({images})", images=size)
            marks.append(text(WIDTH, y, small, "label soft", anchor="end"))
            marks.append(line(scale.left, y - 4, scale.right, y - 4, "absent"))
            continue
        value = words.number(share(row.auroc.value, 2))
        marks.append(text(302, y, value, "value", anchor="end"))
        marks.append(text(WIDTH, y, size, "label soft", anchor="end"))
        tip = words(
            "{name}: {auroc}, {images} images",
            name=row.name,
            auroc=measured(row.auroc),
            images=size,
        )
        marks += _interval(row.auroc, y - 4, scale, "mark", tip=tip)
    bottom = y + 12
    behind = _ruler(scale, bottom, overall, words)
    return picture(name, bottom + 44, behind + marks, title=title, desc=desc)


def _scale(left: float, right: float, metrics: Sequence[Measured]) -> _Scale:
    """From chance to 1, farther down where an interval reaches."""
    seen = [v for m in metrics for v in (m.value, m.low) if v is not None]
    lowest = min([0.5, *seen])
    return _Scale(left, right, int(lowest * 10 + 1e-9) / 10, 1.0)


def _ruler(scale: _Scale, bottom: float, reference: Measured, words: Words) -> list[str]:
    """The scale below the rows, and a dashed line at `reference`."""
    marks = [line(scale.left, bottom, scale.right, bottom, "axis")]
    for tick in ticks_between(scale.low, scale.high, 4):
        x = scale.across(tick)
        marks.append(line(x, 20, x, bottom, "grid"))
        marks.append(text(x, bottom + 17, words.number(f"{tick:g}"), "tick", anchor="middle"))
    middle = (scale.left + scale.right) / 2
    marks.append(text(middle, bottom + 36, "AUROC", "name", anchor="middle"))
    if reference.value is not None:
        x = scale.across(reference.value)
        marks.append(line(x, 20, x, bottom, "reference"))
    return marks


def _interval(metric: Measured, y: float, scale: _Scale, kind: str, *, tip: str) -> list[str]:
    if metric.value is None:
        return []
    marks = []
    if metric.low is not None and metric.high is not None:
        marks.append(line(scale.across(metric.low), y, scale.across(metric.high), y, "interval"))
    marks.append(dot(scale.across(metric.value), y, kind, tip=tip))
    return marks


def _cut(name: str, most: int) -> str:
    return name if len(name) <= most else name[: most - 1].rstrip() + "…"
