"""The picture of a learning-rate range test."""

from __future__ import annotations

from pathlib import Path

from melanoma.evaluation.render.figure_style import ACCENT, INK, MUTED, figure_at
from melanoma.training.learning_rate_range import DIVERGED, RateSweep


def save_sweep(sweep: RateSweep, path: Path, *, title: str) -> None:
    """Write `path` (PNG): loss against rate, the smoothed curve, and the suggestions marked."""
    with figure_at(path, width=7.0, height=4.4) as axes:
        axes.plot(sweep.rates, sweep.losses, ".", color=MUTED, markersize=4, label="one step")
        axes.plot(sweep.rates, sweep.smoothed, color=ACCENT, linewidth=2, label="smoothed")
        marks = (("steepest fall", sweep.steepest, "--"), ("lowest / 10", sweep.tenth, ":"))
        for name, rate, line in marks:
            if rate is not None:
                chosen = ", suggested" if rate == sweep.suggestion else ""
                axes.axvline(
                    rate,
                    color=INK,
                    linestyle=line,
                    linewidth=1.2,
                    label=f"{name} {rate:.1e}{chosen}",
                )
        # The explosion at the end would flatten everything before it.
        top = max(sweep.smoothed[0], sweep.smoothed.min()) * DIVERGED / 2
        low = min(sweep.losses.min(), sweep.smoothed.min())
        axes.set(
            xscale="log",
            xlabel="learning rate of the head",
            ylabel="training loss",
            ylim=(low - 0.05 * (top - low), top),
            title=title,
        )
        axes.legend(loc="upper left", frameon=True, framealpha=0.9, edgecolor="none", fontsize=9)
