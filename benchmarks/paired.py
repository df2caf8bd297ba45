"""Paired comparisons of two runs on the same images, and how they are written down and drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from melanoma.evaluation.compare.paired import sign_p_value
from melanoma.evaluation.metrics.bootstrap import (
    Interval,
    Resampled,
    Statistic,
    bootstrap_values,
    is_recentered,
    percentile_interval,
)
from melanoma.evaluation.render.figure_style import ACCENT, INK, MUTED, figure_at
from melanoma.types import Integers

RESAMPLES = 2000


@dataclass(frozen=True)
class Images:
    """The images that a comparison is made on: what they are, and whose."""

    melanoma: Integers
    groups: Integers

    @property
    def told(self) -> str:
        """`N images, M melanomas`."""
        return f"{len(self.melanoma):,} images, {int(self.melanoma.sum()):,} melanomas"


@dataclass(frozen=True)
class Pair:
    """One comparison: `first` less `second`, each with its interval."""

    question: str
    first_name: str
    second_name: str
    metric: str
    first: Interval
    second: Interval
    difference: Interval
    p_value: float
    images: str
    where: str = ""  # for the figure, where the two names do not say it

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            **{key: getattr(self, key) for key in ("question", "metric", "images", "p_value")},
            "a": {"run": self.first_name, **self.first.measured().model_dump()},
            "b": {"run": self.second_name, **self.second.measured().model_dump()},
            "difference": self.difference.measured().model_dump(),
        }


def compare_statistics(
    first: Sequence[Statistic], second: Sequence[Statistic], groups: Integers
) -> tuple[Interval, Interval, Interval, float]:
    """The mean of the first less that of the second on the same resamples of groups, and p."""
    named = {f"a{n}": s for n, s in enumerate(first)} | {f"b{n}": s for n, s in enumerate(second)}
    rng = np.random.default_rng(0)
    drawn = bootstrap_values(named, groups, resamples=RESAMPLES, rng=rng)
    a, b = (_mean([drawn[key] for key in drawn if key[0] == side]) for side in "ab")
    less = Resampled(a.value - b.value, a.values - b.values)
    rise = is_recentered(first[0])
    found = percentile_interval(a, recentered=rise), percentile_interval(b, recentered=rise)
    return *found, percentile_interval(less), sign_p_value(less.values)


def _mean(drawn: Sequence[Resampled]) -> Resampled:
    values = np.mean([one.values for one in drawn], axis=0)
    return Resampled(float(np.mean([one.value for one in drawn])), values)


def compare(
    question: str,
    names: tuple[str, str],
    metric: str,
    first: Sequence[Statistic],
    second: Sequence[Statistic],
    images: Images,
    *,
    where: str = "",
) -> Pair:
    """The Pair of the mean of `first` and the mean of `second`."""
    a, b, less, p = compare_statistics(first, second, images.groups)
    return Pair(question, *names, metric, a, b, less, p, images.told, where)


def table_lines(pairs: Sequence[Pair]) -> list[str]:
    """A Markdown table; a difference that is more than chance (p < 0.05) is bold."""
    lines = [
        "| what | metric | A | B | A - B (95 %) | p | on |",
        "|---|---|---|---|---|---|---|",
    ]
    for pair in pairs:
        low, high = pair.difference.low, pair.difference.high
        less = f"{pair.difference.value:+.4f} ({low:+.4f} to {high:+.4f})"
        lines.append(
            f"| {pair.question} | {pair.metric} | {pair.first_name}: {pair.first.value:.4f} "
            f"| {pair.second_name}: {pair.second.value:.4f} "
            f"| {f'**{less}**' if pair.p_value < 0.05 else less} | {_p(pair.p_value)} "
            f"| {pair.images} |"
        )
    return lines


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def draw_differences(pairs: Mapping[str, Sequence[Pair]], path: Path) -> None:
    """Every AUROC difference with its interval, one line each, the parts apart."""
    with figure_at(path, width=9.5, height=0.8 + 0.33 * _lines(pairs)) as axes:
        axes.axvline(0, color=MUTED, linewidth=1)
        y, names, places = 0.0, [], []
        for part, own in pairs.items():
            shown = [pair for pair in own if pair.metric == "AUROC"]
            if not shown:
                continue
            y -= 1
            names.append(part)
            places.append(y)
            for pair in shown:
                y -= 1
                value, low, high = pair.difference[:3]
                color = ACCENT if pair.p_value < 0.05 else INK
                axes.plot([low, high], [y, y], color=color, linewidth=1.5)
                axes.plot([value], [y], "o", color=color, markersize=5)
                names.append(f"{pair.first_name} - {pair.second_name}{_where(pair)}")
                places.append(y)
        axes.set_yticks(places, names, fontsize=8)
        for label, name in zip(axes.get_yticklabels(), names, strict=True):
            label.set_fontweight("bold" if name in pairs else "normal")
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("difference of melanoma AUROC, paired 95 % interval")


def _lines(pairs: Mapping[str, Sequence[Pair]]) -> int:
    shown = [sum(pair.metric == "AUROC" for pair in own) for own in pairs.values()]
    return sum(count + 1 for count in shown if count)


def _where(pair: Pair) -> str:
    """What a line's name must say beside its two sides."""
    return f" ({pair.where})" if pair.where else ""
