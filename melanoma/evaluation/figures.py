"""Figures of a report: ROC, precision-recall, reliability. Drawn without a display."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve, roc_curve

from melanoma.evaluation.report import Report

_INK, _ACCENT, _MUTED = "#1f2933", "#0f6b8c", "#9aa5b1"
_STYLE: Any = {
    "font.size": 10,
    "axes.edgecolor": _MUTED,
    "axes.labelcolor": _INK,
    "text.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
}


def save_figures(report: Report, folder: Path) -> list[Path]:
    """roc.png, pr.png, reliability.png, and the three side by side in report.png."""
    folder.mkdir(parents=True, exist_ok=True)
    drawings = {"roc": draw_roc, "pr": draw_precision_recall, "reliability": draw_reliability}
    written = []
    with plt.rc_context(_STYLE):
        for name, draw in drawings.items():
            figure, axes = plt.subplots(figsize=(4.6, 4.4), layout="constrained")
            draw(axes, report)
            written.append(_save(figure, folder / f"{name}.png"))
        figure, row = plt.subplots(1, 3, figsize=(13.2, 4.5), layout="constrained")
        for axes, draw in zip(row, drawings.values(), strict=True):
            draw(axes, report)
        data = report.content["data"]
        figure.suptitle(
            f"{report.content['recipe']}: out-of-fold scores of {data['images']:,} "
            f"images, {data['positives']:,} melanomas, {data['groups']:,} groups"
        )
        written.append(_save(figure, folder / "report.png"))
    return written


def draw_roc(axes: Axes, report: Report) -> None:
    """Sensitivity against 1 - specificity, the threshold marked."""
    false, true, _ = roc_curve(report.target, report.probability)
    axes.plot([0, 1], [0, 1], color=_MUTED, linewidth=1, linestyle=":")
    axes.plot(false, true, color=_ACCENT, linewidth=2)
    point = report.content["thresholds"][0]
    axes.plot(
        1 - point["specificity"]["value"],
        point["sensitivity"]["value"],
        "o",
        color=_INK,
        label=f"threshold at {point['at']}",
    )
    axes.set(
        xlabel="1 - specificity",
        ylabel="sensitivity",
        xlim=(-0.01, 1),
        ylim=(0, 1.01),
        title=f"AUROC {_spoken(report.content['metrics']['auroc'])}",
    )
    axes.legend(loc="lower right", frameon=False)


def draw_precision_recall(axes: Axes, report: Report) -> None:
    """Precision against sensitivity, with the prevalence as the line of chance."""
    precision, recall, _ = precision_recall_curve(report.target, report.probability)
    prevalence = report.content["data"]["prevalence"]
    axes.axhline(
        prevalence, color=_MUTED, linewidth=1, linestyle=":", label=f"prevalence {prevalence:.1%}"
    )
    axes.plot(recall, precision, color=_ACCENT, linewidth=2)
    axes.set(
        xlabel="sensitivity (recall)",
        ylabel="precision (PPV)",
        xlim=(0, 1.01),
        ylim=(0, 1.01),
        title=f"PR-AUC {_spoken(report.content['metrics']['pr_auc'])}",
    )
    axes.legend(loc="lower left", frameon=False)


def draw_reliability(axes: Axes, report: Report) -> None:
    """Observed share of melanomas against predicted probability, in bins of equal counts."""
    order = np.argsort(report.crossfit, kind="stable")
    bins = np.array_split(order, min(10, max(2, len(order) // 20)))
    predicted = np.array([report.crossfit[b].mean() for b in bins])
    observed = np.array([report.target[b].mean() for b in bins])
    error = np.array(
        [
            1.96 * np.sqrt(max(o * (1 - o), 1e-9) / len(b))
            for o, b in zip(observed, bins, strict=True)
        ]
    )
    axes.plot([0, 1], [0, 1], color=_MUTED, linewidth=1, linestyle=":")
    axes.errorbar(
        predicted,
        observed,
        yerr=error,
        color=_ACCENT,
        marker="o",
        linewidth=1.5,
        capsize=2,
        label=f"{len(bins)} bins of {len(order) // len(bins)} images",
    )
    axes.set(
        xlabel="predicted probability (cross-fitted)",
        ylabel="observed share of melanomas",
        xlim=(-0.02, 1.02),
        ylim=(-0.02, 1.02),
        title=f"Reliability, ECE {report.content['metrics']['ece']['value']:.3f}",
    )
    axes.legend(loc="upper left", frameon=False)


def _spoken(metric: dict[str, float | None]) -> str:
    if None in metric.values():
        return "undefined"
    return f"{metric['value']:.3f} ({metric['low']:.3f} to {metric['high']:.3f})"


def _save(figure: Figure, path: Path) -> Path:
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path
