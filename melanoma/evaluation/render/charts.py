"""The charts of a report, each an inline SVG from its content alone; drawn here and nowhere else.

report.html, the service's page and the files of figures/ show these same drawings.
"""

from __future__ import annotations

from melanoma.evaluation.number_format import measured, number, percent, threshold
from melanoma.evaluation.render.chart_words import ENGLISH, Words
from melanoma.evaluation.render.flow import draw_flow
from melanoma.evaluation.render.forest import draw_classes, draw_shortcuts, draw_subgroups
from melanoma.evaluation.render.svg import (
    Axis,
    Panel,
    legend,
    line,
    share_axis,
    text,
    ticks_between,
)
from melanoma.evaluation.render.training_curves import draw_training
from melanoma.evaluation.report.schema import ReportContent
from melanoma.evaluation.report.schema_parts import (
    CalibrationState,
    Curves,
    Measured,
    NetBenefit,
)

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"  # names of the thresholds, in charts and tables alike
# Every chart that a report may have: save_figures removes what an earlier report left of them.
NAMES = (
    *("roc", "pr", "before", "after", "after_low", "benefit", "benefit_low"),
    *("classes", "subgroups", "shortcuts", "losses", "rates", "flow"),
)
LOW = 0.1  # up to here the part where a threshold mostly lies is drawn once more
_UNKNOWN = Measured(value=None)


def draw_charts(content: ReportContent, words: Words = ENGLISH) -> dict[str, str]:
    """Name -> <svg>. A chart that the content has no numbers for is absent."""
    charts: dict[str, str] = {}
    used = content.thresholds[0].value if content.thresholds else None
    low = used is not None and used < LOW
    if content.curves is not None:
        charts["roc"] = draw_roc(content, content.curves, words)
        charts["pr"] = draw_precision_recall(content, content.curves, words)
    counted = content.data.positives is not None
    for name, state in (
        ("before", content.calibration.before),
        ("after", content.calibration.after),
    ):
        if state.bins:
            at = used if name == "after" else None
            charts[name] = draw_reliability(name, state, words, counted=counted, used=at)
            if at is not None and low and _bins_up_to(state, LOW) > 1:
                drawn = draw_reliability("after-low", state, words, used=at, end=LOW)
                charts["after_low"] = drawn
    curve = content.net_benefit
    if curve is not None and len(curve.thresholds) > 1:
        charts["benefit"] = draw_net_benefit(curve, words, used=used)
        if low and sum(t <= LOW for t in curve.thresholds) > 2:
            charts["benefit_low"] = draw_net_benefit(curve, words, used=used, end=LOW)
    if len([row for row in content.per_class if row.auroc.value is not None]) > 2:
        charts["classes"] = draw_classes(content.per_class, words)
    if any(group.auroc.value is not None for group in content.subgroups):
        overall = content.metrics.get("auroc", _UNKNOWN)
        charts["subgroups"] = draw_subgroups(content.subgroups, overall, words)
    if content.shortcuts is not None:
        charts["shortcuts"] = draw_shortcuts(content.shortcuts, words)
    charts |= draw_training(content.history, words)
    return charts | ({"flow": draw_flow(content, words)} if content.data.images else {})


def draw_roc(content: ReportContent, curves: Curves, words: Words) -> str:
    """Sensitivity against 1 - specificity; every threshold marked."""
    panel = Panel("roc", _share_axis(words, "1 - specificity"), _share_axis(words, "sensitivity"))
    panel.line([0, 1], [0, 1], "chance")
    panel.line(curves.roc.x, curves.roc.y, "curve")
    for letter, point in zip(LETTERS, content.thresholds, strict=False):
        if point.sensitivity.value is None or point.specificity.value is None:
            continue
        x, y = 1 - point.specificity.value, point.sensitivity.value
        tip = words(
            "{at}: threshold {value}, sensitivity {sensitivity}, specificity {specificity}",
            at=words.at(point.at),
            value=threshold(point.value),
            sensitivity=percent(y),
            specificity=percent(1 - x),
        )
        panel.dot(x, y, "point", tip=tip)
        panel.letter(x, y, letter)
    desc = words(
        "Sensitivity against 1 - specificity over all thresholds; area under the curve {area}.",
        area=measured(content.metrics.get("auroc", _UNKNOWN)),
    )
    return panel.svg(words("ROC curve"), desc)


def draw_precision_recall(content: ReportContent, curves: Curves, words: Words) -> str:
    """Precision against sensitivity; the prevalence is the line of chance."""
    across, up = _share_axis(words, "sensitivity (recall)"), _share_axis(words, "precision (PPV)")
    panel = Panel("pr", across, up)
    prevalence = content.data.prevalence
    if prevalence is not None:
        panel.line([0, 1], [prevalence, prevalence], "chance")
        x, y = panel.at(0, prevalence)
        below = y + 15 if prevalence > 0.12 else y - 6
        label = words("prevalence {share}", share=percent(prevalence))
        panel.marks.append(text(x + 6, below, label, "label soft"))
    panel.line(curves.pr.x, curves.pr.y, "curve")
    for letter, point in zip(LETTERS, content.thresholds, strict=False):
        if point.sensitivity.value is None or point.ppv.value is None:
            continue
        tip = words(
            "{at}: threshold {value}, sensitivity {sensitivity}, precision {precision}",
            at=words.at(point.at),
            value=threshold(point.value),
            sensitivity=percent(point.sensitivity.value),
            precision=percent(point.ppv.value),
        )
        panel.dot(point.sensitivity.value, point.ppv.value, "point", tip=tip)
        panel.letter(point.sensitivity.value, point.ppv.value, letter, above=True)
    desc = words(
        "Precision against sensitivity over all thresholds; average precision {area}; "
        "prevalence {share}.",
        area=measured(content.metrics.get("pr_auc", _UNKNOWN)),
        share=percent(prevalence),
    )
    return panel.svg(words("Precision-recall curve"), desc)


def draw_reliability(
    name: str,
    state: CalibrationState,
    words: Words,
    *,
    counted: bool = True,
    used: float | None = None,
    end: float = 1.0,
) -> str:
    """Observed share against predicted probability in bins; above, how many images each holds.

    `name` is before, after or after-low; `counted` where a class counts as melanoma; `used` is the
    threshold in use; bins that predict more than `end` are left out.
    """
    bins = [b for b in state.bins if b.predicted <= end]
    reach = max(max(b.predicted, b.high) for b in bins)
    observed = "observed share of melanomas" if counted else "observed share correct"
    across = _share_axis(words, "predicted probability", min(reach, end))
    panel = Panel(
        f"reliability-{name}", across, _share_axis(words, observed, reach), top=48, height=360
    )
    top = min(panel.x.high, panel.y.high)
    panel.line([0, top], [0, top], "chance")
    _mark_threshold(panel, used, words)
    most = max(b.images for b in bins) or 1
    counts = [f"{n:,}" for n in sorted({b.images for b in bins})]
    sizes = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else counts[0]
    label = words("images a bin: {range}", range=sizes)
    panel.marks.append(text(panel.left, 12, label, "label soft"))
    for b in bins:
        x, _ = panel.at(b.predicted, 0)
        panel.marks.append(line(x, 42, x, 42 - 22 * b.images / most, "count"))
    for b in bins:
        panel.bar(b.predicted, b.low, b.high, "interval")
    panel.line([b.predicted for b in bins], [b.observed for b in bins], "curve thin")
    for b in bins:
        tip = words(
            "{images} images: predicted {predicted}, observed {observed} ({range})",
            images=f"{b.images:,}",
            predicted=percent(b.predicted),
            observed=percent(b.observed),
            range=f"{percent(b.low)} to {percent(b.high)}",
        )
        panel.dot(b.predicted, b.observed, "mark", tip=tip)
    desc = words(
        "Observed share against predicted probability in {bins} bins; on the diagonal both agree. "
        "Calibration error {ece}.",
        bins=str(len(bins)),
        ece=measured(state.ece),
    )
    if end < 1:
        return panel.svg(words("Reliability after calibration, 0 to 10 %"), desc)
    return panel.svg(words(f"Reliability {name} calibration"), desc)


def draw_net_benefit(
    curve: NetBenefit, words: Words, *, used: float | None = None, end: float = 1.0
) -> str:
    """Decision curve: the model against treating everyone and treating no one.

    `used` is the threshold in use; threshold probabilities above `end` are left out.
    """
    curve = _curve_up_to(curve, end)
    best = max(*curve.model_high, *curve.model, curve.treat_all[0], 1e-4)
    # Treat-all falls without end; what is far below zero needs no room.
    floor = max(-0.25 * best, min(*curve.model_low, *curve.treat_all, -0.05 * best))
    first, last = curve.thresholds[0], min(curve.thresholds[-1], end)

    def axis(label: str, low: float, high: float, unit: str = "") -> Axis:
        def form(tick: float) -> str:
            return words.number(f"{100 * tick:.3g}{unit}")

        return Axis(words(label), low, high, ticks_between(low, high), form)

    across = axis("threshold probability", first, last, " %")
    up = axis("net benefit, images of 100", floor, best)
    panel = Panel("benefit" if end == 1 else "benefit-low", across, up, top=28, height=340)
    _mark_threshold(panel, used, words)
    lines = (("curve", "the model"), ("all", "treat everyone"), ("none", "treat no one"))
    panel.marks += legend(0, 14, [(kind, words(name)) for kind, name in lines])
    panel.band(curve.thresholds, curve.model_low, curve.model_high)
    panel.line(curve.thresholds, [0.0] * len(curve.thresholds), "none")
    panel.line(curve.thresholds, curve.treat_all, "all")
    panel.line(curve.thresholds, curve.model, "curve")
    desc = words(
        "Net benefit against the threshold probability for the model, for treating everyone and "
        "for treating no one; the model's is highest at {best} images of 100.",
        best=number(100 * max(curve.model), 1),
    )
    return panel.svg(words("Net benefit" if end == 1 else "Net benefit, 0 to 10 %"), desc)


def _mark_threshold(panel: Panel, used: float | None, words: Words) -> None:
    """An upright line where the threshold in use lies, if the panel reaches there."""
    if used is None or not panel.x.low <= used <= panel.x.high:
        return
    x, _ = panel.at(used, panel.y.low)
    panel.marks.append(line(x, panel.top, x, panel.bottom, "reference"))
    label = words("threshold {value}", value=threshold(used))
    right = x < (panel.left + panel.right) / 2
    at = (x + 5, "start") if right else (x - 5, "end")
    panel.marks.append(text(at[0], panel.top + 11, label, "label soft", anchor=at[1]))


def _bins_up_to(state: CalibrationState, end: float) -> int:
    return sum(b.predicted <= end for b in state.bins)


def _curve_up_to(curve: NetBenefit, end: float) -> NetBenefit:
    """The curve's points up to `end`, and the one after it, where there is one."""
    count = min(sum(t <= end for t in curve.thresholds) + 1, len(curve.thresholds))
    return NetBenefit(**{name: getattr(curve, name)[:count] for name in NetBenefit.model_fields})


def _share_axis(words: Words, label: str, high: float = 1.0) -> Axis:
    return share_axis(words(label), high, lambda tick: words.number(f"{100 * tick:g} %"))
