"""PNG figures of a report, drawn without a display from the same content as its page."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from melanoma.evaluation.figure_style import ACCENT as _ACCENT
from melanoma.evaluation.figure_style import INK as _INK
from melanoma.evaluation.figure_style import MUTED as _MUTED
from melanoma.evaluation.figure_style import STYLE as _STYLE
from melanoma.evaluation.schema import CalibrationState, Curves, Measured, ReportContent
from melanoma.evaluation.wording import measured, percent, plural, share
from melanoma.storage import write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NOTHING = Measured(value=None)

Drawing = Callable[["Axes"], None]


def save_figures(content: ReportContent, folder: Path) -> list[Path]:
    """roc.png, pr.png, reliability.png, classes.png, and report.png with those side by side.

    A figure that the content has no numbers for is not drawn: roc and pr need a melanoma class,
    classes more than two classes. Without any there is no report.png either.
    """
    # Matplotlib takes a second to import, and a report may be read without its figures.
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    drawings = _drawings(content)
    written = []
    with plt.rc_context(_STYLE):
        for name, draw in drawings.items():
            figure, axes = plt.subplots(figsize=(4.6, 4.4), layout="constrained")
            draw(axes)
            written.append(_save(figure, folder / f"{name}.png"))
        if drawings:
            width = 4.4 * len(drawings)
            figure, row = plt.subplots(
                1, len(drawings), figsize=(width, 4.5), layout="constrained", squeeze=False
            )
            for axes, draw in zip(row[0], drawings.values(), strict=True):
                draw(axes)
            figure.suptitle(_heading(content))
            written.append(_save(figure, folder / "report.png"))
    return written


def _drawings(content: ReportContent) -> dict[str, Drawing]:
    drawings: dict[str, Drawing] = {}
    curves, after = content.curves, content.calibration.after
    if curves is not None:
        drawings["roc"] = lambda axes: draw_roc(axes, content, curves)
        drawings["pr"] = lambda axes: draw_precision_recall(axes, content, curves)
    if after.bins:
        drawings["reliability"] = lambda axes: draw_reliability(axes, content, after)
    if len(content.per_class) > 2:
        drawings["classes"] = lambda axes: draw_classes(axes, content)
    return drawings


def draw_roc(axes: Axes, content: ReportContent, curves: Curves) -> None:
    """Sensitivity against 1 - specificity, the threshold in use marked."""
    axes.plot([0, 1], [0, 1], color=_MUTED, linewidth=1, linestyle=":")
    axes.plot(curves.roc.x, curves.roc.y, color=_ACCENT, linewidth=2)
    for point in content.thresholds[:1]:
        if point.sensitivity.value is None or point.specificity.value is None:
            continue
        axes.plot(
            1 - point.specificity.value,
            point.sensitivity.value,
            "o",
            color=_INK,
            label=f"threshold at {point.at}",
        )
        axes.legend(loc="lower right", frameon=False)
    axes.set(
        xlabel="1 - specificity",
        ylabel="sensitivity",
        xlim=(-0.01, 1),
        ylim=(0, 1.01),
        title=f"AUROC {measured(content.metrics.get('auroc', _NOTHING))}",
    )


def draw_precision_recall(axes: Axes, content: ReportContent, curves: Curves) -> None:
    """Precision against sensitivity, with the prevalence as the line of chance."""
    prevalence = content.data.prevalence
    axes.plot(curves.pr.x, curves.pr.y, color=_ACCENT, linewidth=2)
    if prevalence is not None:
        label = f"prevalence {percent(prevalence)}"
        axes.axhline(prevalence, color=_MUTED, linewidth=1, linestyle=":", label=label)
        axes.legend(loc="best", frameon=False)
    axes.set(
        xlabel="sensitivity (recall)",
        ylabel="precision (PPV)",
        xlim=(0, 1.01),
        ylim=(0, 1.01),
        title=f"PR-AUC {measured(content.metrics.get('pr_auc', _NOTHING))}",
    )


def draw_reliability(axes: Axes, content: ReportContent, state: CalibrationState) -> None:
    """Observed share against predicted probability, in the report's bins."""
    bins = state.bins
    seen = "observed share of melanomas" if content.data.positives is not None else "share correct"
    reach = min(1.0, 1.05 * max(max(b.predicted, b.high) for b in bins))
    observed = [b.observed for b in bins]
    # Floats may leave an end a hair on the wrong side of its middle; a bar cannot be negative.
    error = [
        [max(0.0, b.observed - b.low) for b in bins],
        [max(0.0, b.high - b.observed) for b in bins],
    ]
    axes.plot([0, reach], [0, reach], color=_MUTED, linewidth=1, linestyle=":")
    axes.errorbar(
        [b.predicted for b in bins],
        observed,
        yerr=error,
        color=_ACCENT,
        marker="o",
        linewidth=1.5,
        capsize=2,
        label=f"{plural(len(bins), 'bin')}, {plural(sum(b.images for b in bins), 'image')}",
    )
    axes.set(
        xlabel="predicted probability (after calibration)",
        ylabel=seen,
        xlim=(-0.02 * reach, 1.02 * reach),
        ylim=(-0.02 * reach, 1.02 * reach),
        title=f"Reliability, ECE {share(state.ece.value)}",
    )
    axes.legend(loc="lower right", frameon=False)


def draw_classes(axes: Axes, content: ReportContent) -> None:
    """AUROC of every class against the rest, with its interval, best on top."""
    known = [row for row in content.per_class if row.auroc.value is not None]
    rows = sorted(known, key=lambda row: row.auroc.value or 0.0)
    places = range(len(rows))
    values = [row.auroc.value or 0.0 for row in rows]
    axes.hlines(
        places,
        [
            v if row.auroc.low is None else row.auroc.low
            for v, row in zip(values, rows, strict=True)
        ],
        [
            v if row.auroc.high is None else row.auroc.high
            for v, row in zip(values, rows, strict=True)
        ],
        color=_ACCENT,
        linewidth=1.5,
        alpha=0.6,
    )
    axes.plot(values, places, "o", color=_ACCENT, markersize=5)
    names = [row.name if len(row.name) <= 24 else f"{row.name[:23]}…" for row in rows]
    axes.set_yticks(places, [name.replace("$", r"\$") for name in names])
    axes.tick_params(axis="y", labelsize=10 if len(rows) <= 12 else 7, length=0)
    axes.set(xlabel="AUROC, one class against the rest", xlim=(None, 1.005), title="Classes")


def _heading(content: ReportContent) -> str:
    data = content.data
    found = "" if data.positives is None else f"{plural(data.positives, 'melanoma')}, "
    scored = "out-of-fold scores" if content.external is None else "scores"
    return (
        f"{content.recipe}: {scored} of {plural(data.images, 'image')}, "
        f"{found}{plural(data.groups, 'group')}"
    )


def _save(figure: Figure, path: Path) -> Path:
    import matplotlib.pyplot as plt

    picture = io.BytesIO()
    figure.savefig(picture, dpi=110, format="png")
    plt.close(figure)
    write_bytes(path, picture.getvalue())
    return path
