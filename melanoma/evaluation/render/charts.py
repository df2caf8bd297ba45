"""The figures of report.html, each an inline SVG from the report's content alone."""

from __future__ import annotations

from melanoma.evaluation.number_format import measured, number, percent, share, threshold
from melanoma.evaluation.render.svg import (
    WIDTH,
    Axis,
    Panel,
    dot,
    line,
    picture,
    share_axis,
    text,
    ticks_between,
)
from melanoma.evaluation.report.schema import ReportContent
from melanoma.evaluation.report.schema_parts import (
    CalibrationState,
    Curves,
    Measured,
    NetBenefit,
    Shortcuts,
    SubgroupLine,
)

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"  # names of the thresholds, in figures and table alike


def draw_charts(content: ReportContent) -> dict[str, str]:
    """Name -> <svg>. A figure that the content has no numbers for is absent."""
    charts: dict[str, str] = {}
    if content.curves is not None:
        charts["roc"] = draw_roc(content, content.curves)
        charts["pr"] = draw_precision_recall(content, content.curves)
    for name in ("before", "after"):
        state: CalibrationState = getattr(content.calibration, name)
        if state.bins:
            charts[name] = draw_reliability(name, state, positives=content.data.positives)
    if content.shortcuts is not None:
        charts["shortcuts"] = draw_shortcuts(content.shortcuts)
    if any(group.auroc.value is not None for group in content.subgroups):
        overall = content.metrics.get("auroc", Measured(value=None))
        charts["subgroups"] = draw_subgroups(content.subgroups, overall)
    if content.net_benefit is not None and len(content.net_benefit.thresholds) > 1:
        charts["benefit"] = draw_net_benefit(content.net_benefit)
    return charts


def draw_roc(content: ReportContent, curves: Curves) -> str:
    """Sensitivity against 1 - specificity; every threshold marked."""
    panel = Panel("roc", share_axis("1 - specificity"), share_axis("sensitivity"))
    panel.line([0, 1], [0, 1], "chance")
    panel.line(curves.roc.x, curves.roc.y, "curve")
    for letter, point in zip(LETTERS, content.thresholds, strict=False):
        if point.sensitivity.value is None or point.specificity.value is None:
            continue
        x, y = 1 - point.specificity.value, point.sensitivity.value
        tip = (
            f"{point.at}: threshold {threshold(point.value)}, sensitivity {percent(y)}, "
            f"specificity {percent(1 - x)}"
        )
        panel.dot(x, y, "point", tip=tip)
        panel.letter(x, y, letter)
    reached = measured(content.metrics.get("auroc", Measured(value=None)))
    return panel.svg(
        "ROC curve",
        f"Sensitivity against 1 - specificity over all thresholds; area under the curve {reached}.",
    )


def draw_precision_recall(content: ReportContent, curves: Curves) -> str:
    """Precision against sensitivity; the prevalence is the line of chance."""
    panel = Panel("pr", share_axis("sensitivity (recall)"), share_axis("precision (PPV)"))
    prevalence = content.data.prevalence
    if prevalence is not None:
        panel.line([0, 1], [prevalence, prevalence], "chance")
        x, y = panel.at(0, prevalence)
        below = y + 15 if prevalence > 0.12 else y - 6
        panel.marks.append(text(x + 6, below, f"prevalence {percent(prevalence)}", "label soft"))
    panel.line(curves.pr.x, curves.pr.y, "curve")
    for letter, point in zip(LETTERS, content.thresholds, strict=False):
        if point.sensitivity.value is None or point.ppv.value is None:
            continue
        tip = (
            f"{point.at}: threshold {threshold(point.value)}, sensitivity "
            f"{percent(point.sensitivity.value)}, precision {percent(point.ppv.value)}"
        )
        panel.dot(point.sensitivity.value, point.ppv.value, "point", tip=tip)
        panel.letter(point.sensitivity.value, point.ppv.value, letter, above=True)
    reached = measured(content.metrics.get("pr_auc", Measured(value=None)))
    return panel.svg(
        "Precision-recall curve",
        f"Precision against sensitivity over all thresholds; average precision {reached}; "
        f"prevalence {percent(prevalence)}.",
    )


def draw_reliability(name: str, state: CalibrationState, *, positives: int | None) -> str:
    """Observed share against predicted probability in bins; above, how many images each holds."""
    reach = max(max(b.predicted, b.high) for b in state.bins)
    seen = "observed share of melanomas" if positives is not None else "observed share correct"
    panel = Panel(
        f"reliability-{name}",
        share_axis("predicted probability", reach),
        share_axis(seen, reach),
        top=48,
        height=360,
    )
    top = panel.x.high
    panel.line([0, top], [0, top], "chance")
    most = max(b.images for b in state.bins) or 1
    counts = [f"{n:,}" for n in sorted({b.images for b in state.bins})]
    said = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else counts[0]
    panel.marks.append(text(panel.left, 12, f"images a bin: {said}", "label soft"))
    for b in state.bins:
        x, _ = panel.at(b.predicted, 0)
        panel.marks.append(line(x, 42, x, 42 - 22 * b.images / most, "count"))
    for b in state.bins:
        panel.bar(b.predicted, b.low, b.high, "interval")
    panel.line([b.predicted for b in state.bins], [b.observed for b in state.bins], "curve thin")
    for b in state.bins:
        tip = (
            f"{b.images:,} images: predicted {percent(b.predicted)}, observed "
            f"{percent(b.observed)} ({percent(b.low)} to {percent(b.high)})"
        )
        panel.dot(b.predicted, b.observed, "mark", tip=tip)
    return panel.svg(
        f"Reliability {name} calibration",
        f"{seen.capitalize()} against predicted probability in {len(state.bins)} bins; on the "
        f"diagonal both agree. Calibration error {measured(state.ece)}.",
    )


def draw_shortcuts(shortcuts: Shortcuts) -> str:
    """AUROC of the model and of what needs no photograph, with intervals, on one scale."""
    rows = [("the model, from the photograph", shortcuts.model, "mark")]
    rows += [(row.name, row.auroc, "mark hollow") for row in shortcuts.lines]
    low, high = _auroc_ends([metric for _, metric, _ in rows])
    left, right, step = 14.0, WIDTH - 132, 44.0
    bottom = 14 + step * len(rows)
    scale = (left, right, low, high)
    marks = _ruler(scale, bottom, "AUROC")
    if shortcuts.model.value is not None:
        x = _across(shortcuts.model.value, scale)
        marks.append(line(x, 20, x, bottom, "reference"))
    for i, (name, metric, kind) in enumerate(rows):
        y = 14 + i * step
        marks.append(text(0, y, _cut(name, 54), "label", tip=name))
        marks.append(text(WIDTH, y + 22, measured(metric), "value", anchor="end"))
        marks += _interval(metric, y + 18, scale, kind, tip=f"{name}: {measured(metric)}")
    return picture(
        "shortcuts",
        bottom + 44,
        marks,
        title="Shortcut baseline",
        told="AUROC with interval: "
        + "; ".join(f"{name} {measured(metric)}" for name, metric, _ in rows),
    )


def draw_subgroups(groups: tuple[SubgroupLine, ...], overall: Measured) -> str:
    """Forest plot: AUROC with interval of every subgroup, small ones as a gray note."""
    low, high = _auroc_ends([group.auroc for group in groups] + [overall])
    scale = (122.0, 262.0, low, high)
    marks: list[str] = []
    y, column = 4.0, ""
    for group in groups:
        if group.column != column:
            column, y = group.column, y + 24
            marks.append(text(0, y, column.replace("_", " "), "heading"))
        y += 21
        marks.append(text(8, y, _cut(group.value, 18), "label", tip=group.value))
        size = f"{group.images:,}"
        if group.auroc.value is None:
            marks.append(text(WIDTH, y, f"too small ({size})", "label soft", anchor="end"))
            marks.append(line(scale[0], y - 4, scale[1], y - 4, "absent"))
            continue
        marks.append(text(302, y, share(group.auroc.value, 2), "value", anchor="end"))
        marks.append(text(WIDTH, y, size, "label soft", anchor="end"))
        tip = f"{group.value}: {measured(group.auroc)}, {size} images"
        marks += _interval(group.auroc, y - 4, scale, "mark", tip=tip)
    bottom = y + 12
    head = [
        text(302, 14, "AUROC", "label soft", anchor="end"),
        text(WIDTH, 14, "images", "label soft", anchor="end"),
    ]
    behind = _ruler(scale, bottom, "AUROC")
    if overall.value is not None:
        x = _across(overall.value, scale)
        behind.append(line(x, 20, x, bottom, "reference"))
    return picture(
        "subgroups",
        bottom + 44,
        behind + head + marks,
        title="AUROC by subgroup",
        told=f"AUROC of each subgroup with its interval; dashed, all images: {measured(overall)}.",
    )


def draw_net_benefit(curve: NetBenefit) -> str:
    """Decision curve: the model against treating everyone and treating no one."""
    best = max(*curve.model_high, *curve.model, curve.treat_all[0], 1e-4)
    # Treat-all falls without end; what is far below zero needs no room.
    floor = max(-0.25 * best, min(*curve.model_low, *curve.treat_all, -0.05 * best))
    ticks = tuple(t for t in ticks_between(floor, best, 5))
    first, last = curve.thresholds[0], curve.thresholds[-1]
    x = Axis("threshold probability", first, last, ticks_between(first, last), "{:.3g}".format)
    panel = Panel("benefit", x, Axis("net benefit", floor, best, ticks, "{:.3g}".format))
    panel.band(curve.thresholds, curve.model_low, curve.model_high)
    panel.line(curve.thresholds, [0.0] * len(curve.thresholds), "none")
    panel.line(curve.thresholds, curve.treat_all, "all")
    panel.line(curve.thresholds, curve.model, "curve")
    return panel.svg(
        "Net benefit",
        "Net benefit against the threshold probability for the model, for treating everyone and "
        f"for treating no one; the model's is highest at {number(max(curve.model))}.",
    )


Scale = tuple[float, float, float, float]  # left, right in units; low, high in data


def _across(value: float, scale: Scale) -> float:
    left, right, low, high = scale
    return left + (min(max(value, low), high) - low) / (high - low) * (right - left)


def _ruler(scale: Scale, bottom: float, label: str) -> list[str]:
    left, right, low, high = scale
    marks = [line(left, bottom, right, bottom, "axis")]
    for tick in ticks_between(low, high, 4):
        x = _across(tick, scale)
        marks.append(line(x, 20, x, bottom, "grid"))
        marks.append(text(x, bottom + 17, f"{tick:g}", "tick", anchor="middle"))
    marks.append(text((left + right) / 2, bottom + 36, label, "name", anchor="middle"))
    return marks


def _interval(metric: Measured, y: float, scale: Scale, kind: str, *, tip: str) -> list[str]:
    if metric.value is None:
        return []
    marks = []
    if metric.low is not None and metric.high is not None:
        ends = _across(metric.low, scale), _across(metric.high, scale)
        marks.append(line(ends[0], y, ends[1], y, "interval"))
    marks.append(dot(_across(metric.value, scale), y, kind, tip=tip))
    return marks


def _auroc_ends(metrics: list[Measured]) -> tuple[float, float]:
    """Where the scale begins and ends: chance and 1, farther down where an interval reaches."""
    seen = [v for m in metrics for v in (m.value, m.low) if v is not None]
    lowest = min([0.5, *seen])
    return int(lowest * 10 + 1e-9) / 10, 1.0


def _cut(name: str, most: int) -> str:
    return name if len(name) <= most else name[: most - 1].rstrip() + "…"
