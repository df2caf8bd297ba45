"""Inline SVG: 360 units wide, so that text of 12 units is legible on a phone.

Colors are charts.css's: a mark names its kind by a class and holds in both themes.
Text of the run (names of classes, of columns) is escaped here and nowhere else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 360.0


@dataclass(frozen=True)
class Axis:
    """An axis: its label, its ends, its ticks and how a tick is written."""

    label: str
    low: float
    high: float
    ticks: tuple[float, ...]
    form: Callable[[float], str] = "{:g}".format


def share_axis(label: str, high: float = 1.0, form: Callable[[float], str] = "{:g}".format) -> Axis:
    """From 0 to a round number at or above `high` (1 at most), for a share."""
    top = min(1.0, nice_step(high, 1)) if high < 1 else 1.0
    return Axis(label, 0.0, top, ticks_between(0.0, top), form)


def nice_step(span: float, parts: int) -> float:
    """The smallest of 1, 2, 2.5, 5 times a power of ten that `parts` of reach over `span`."""
    rough = max(span, 1e-9) / parts
    power = 10.0 ** math.floor(math.log10(rough))
    return next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * (1 - 1e-9))


def ticks_between(low: float, high: float, parts: int = 5) -> tuple[float, ...]:
    """Round numbers in [low, high], about `parts` steps apart."""
    step = nice_step(high - low, parts)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return tuple(round(i * step, 10) for i in range(first, last + 1))


def text(
    x: float, y: float, content: str, kind: str = "", *, anchor: str = "start", tip: str = ""
) -> str:
    """Words at a point; `anchor` start, middle or end; `tip` is shown under the pointer."""
    inside = f"<title>{escape(tip)}</title>" if tip and tip != content else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">'
        f"{inside}{escape(content)}</text>"
    )


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def dot(x: float, y: float, kind: str, *, radius: float = 4.0, tip: str = "") -> str:
    """A point; `tip` is shown under the pointer."""
    inside = f"<title>{escape(tip)}</title>" if tip else ""
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" class="{kind}">{inside}</circle>'


def legend(x: float, y: float, entries: Sequence[tuple[str, str]]) -> list[str]:
    """(kind, name) of each line in a chart, side by side from `x` on."""
    marks = []
    for kind, name in entries:
        marks += [line(x, y - 4, x + 22, y - 4, kind), text(x + 28, y, name, "label")]
        x += 40 + 6.4 * len(name)
    return marks


def picture(name: str, height: float, marks: Sequence[str], *, title: str, desc: str) -> str:
    """An <svg> of WIDTH by `height` units. `name` makes its ids unique in the page."""
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH:g} {height:g}" role="img" '
        f'aria-labelledby="{name}-title {name}-desc">'
        f'<title id="{name}-title">{escape(title)}</title>'
        f'<desc id="{name}-desc">{escape(desc)}</desc>{"".join(marks)}</svg>'
    )


class Panel:
    """A pair of axes. Marks are added in data coordinates; `marks` is what was drawn so far."""

    def __init__(self, name: str, x: Axis, y: Axis, *, top: float = 10, height: float = 322):
        self.name, self.x, self.y = name, x, y
        longest = max(len(y.form(tick)) for tick in y.ticks)
        self.left, self.right = 24.0 + 7 * longest, WIDTH - 12
        self.top, self.bottom = top, height - 46
        self.height = height
        self.marks: list[str] = []
        self._letters: list[tuple[float, float]] = []
        self._draw_axes()

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Data -> units of the picture."""
        across = (x - self.x.low) / (self.x.high - self.x.low)
        up = (y - self.y.low) / (self.y.high - self.y.low)
        return (
            self.left + across * (self.right - self.left),
            self.bottom - up * (self.bottom - self.top),
        )

    def line(self, xs: Sequence[float], ys: Sequence[float], kind: str) -> None:
        points = " ".join("{:.1f},{:.1f}".format(*self.at(*p)) for p in zip(xs, ys, strict=True))
        self.marks.append(
            f'<polyline points="{points}" class="{kind}" clip-path="url(#{self.name}-clip)"/>'
        )

    def band(self, xs: Sequence[float], lows: Sequence[float], highs: Sequence[float]) -> None:
        there = list(zip(xs, highs, strict=True))
        back = list(zip(xs, lows, strict=True))[::-1]
        points = " ".join("{:.1f},{:.1f}".format(*self.at(*p)) for p in there + back)
        self.marks.append(
            f'<polygon points="{points}" class="band" clip-path="url(#{self.name}-clip)"/>'
        )

    def bar(self, x: float, low: float, high: float, kind: str) -> None:
        """An interval standing upright at `x`."""
        x0, y0 = self.at(x, low)
        _, y1 = self.at(x, high)
        self.marks.append(line(x0, y0, x0, y1, kind))

    def dot(self, x: float, y: float, kind: str, *, tip: str, radius: float = 4.0) -> None:
        self.marks.append(dot(*self.at(x, y), kind, tip=tip, radius=radius))

    def letter(self, x: float, y: float, letter: str, *, above: bool = False) -> None:
        """A letter right of a point, below or above it, moved on where another one stands."""
        px, py = self.at(x, y)
        px, py = min(px + 7, self.right - 8), py - 8 if above else min(py + 16, self.bottom - 5)
        while any(abs(py - oy) < 12 and abs(px - ox) < 10 for ox, oy in self._letters):
            py += -12 if above else 12
        self._letters.append((px, py))
        far = abs(py - 4 - self.at(x, y)[1]) > 14
        if far:  # else nobody could tell whose letter it is
            self.marks.append(line(*self.at(x, y), px + 2, py - 5, "leader"))
        self.marks.append(text(px, py, letter, "label letter"))

    def svg(self, title: str, desc: str) -> str:
        return picture(self.name, self.height, self.marks, title=title, desc=desc)

    def _draw_axes(self) -> None:
        left, right, top, bottom = self.left, self.right, self.top, self.bottom
        self.marks.append(
            f'<defs><clipPath id="{self.name}-clip"><rect x="{left - 1:g}" y="{top - 1:g}" '
            f'width="{right - left + 2:g}" height="{bottom - top + 2:g}"/></clipPath></defs>'
        )
        for tick in self.y.ticks:
            _, y = self.at(self.x.low, tick)
            self.marks.append(line(left, y, right, y, "grid"))
            self.marks.append(text(left - 6, y + 4, self.y.form(tick), "tick", anchor="end"))
        for tick in self.x.ticks:
            x, _ = self.at(tick, self.y.low)
            self.marks.append(line(x, bottom, x, bottom + 4, "axis"))
            self.marks.append(text(x, bottom + 17, self.x.form(tick), "tick", anchor="middle"))
        self.marks.append(line(left, bottom, right, bottom, "axis"))
        middle = (top + bottom) / 2
        self.marks.append(
            text((left + right) / 2, bottom + 37, self.x.label, "name", anchor="middle")
        )
        self.marks.append(
            f'<text transform="translate(12 {middle:.1f}) rotate(-90)" class="name" '
            f'text-anchor="middle">{escape(self.y.label)}</text>'
        )
