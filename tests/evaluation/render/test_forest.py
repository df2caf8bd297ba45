"""Forest plots: each AUROC and its interval where its scale says, on a row of its own."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest

from melanoma.evaluation.render.chart_words import ENGLISH, Words
from melanoma.evaluation.render.forest import draw_classes, draw_shortcuts, draw_subgroups
from melanoma.evaluation.report.schema_parts import (
    ClassLine,
    Measured,
    ShortcutLine,
    Shortcuts,
    SubgroupLine,
)

NONE = Measured(value=None)
OVERALL = Measured(value=0.8, low=0.75, high=0.85)


def area(value: float, *, half: float = 0.05) -> Measured:
    return Measured(value=value, low=value - half, high=min(value + half, 1.0))


def group(column: str, value: str, auroc: Measured, images: int = 1234) -> SubgroupLine:
    parts: dict[str, Any] = dict.fromkeys(("sensitivity", "specificity"), NONE)
    means: dict[str, Any] = {"mean_predicted": None, "observed": None}
    row = {"column": column, "value": value, "images": images, "positives": 9, "auroc": auroc}
    return SubgroupLine(**row, **parts, **means)


def one_class(name: str, auroc: Measured) -> ClassLine:
    others = dict.fromkeys(("pr_auc", "precision", "recall", "f1"), NONE)
    return ClassLine(name=name, melanoma=False, images=50, auroc=auroc, **others)


def shortcuts(*lines: tuple[str, Measured]) -> Shortcuts:
    rows = [ShortcutLine(name=name, inputs=(), absent=(), auroc=auroc) for name, auroc in lines]
    return Shortcuts(model=OVERALL, lines=tuple(rows))


class Chart:
    """The marks of a drawing."""

    def __init__(self, svg: str) -> None:
        self.title, self.told, *self.marks = ElementTree.fromstring(svg)

    def of(self, kind: str, tag: str = "") -> list[ElementTree.Element]:
        return [m for m in self.marks if m.get("class") == kind and m.tag.startswith(tag)]

    def texts(self, kind: str) -> list[str]:
        """What is written, without what is shown under the pointer."""
        return ["".join([m.text or "", *(c.tail or "" for c in m)]) for m in self.of(kind, "text")]

    def place(self, value: float) -> float:
        """Where the scale has the value, by its ticks."""
        ticks = [(float(m.text or ""), float(m.attrib["x"])) for m in self.of("tick")]
        (low, left), (high, right) = ticks[0], ticks[-1]
        return left + (value - low) / (high - low) * (right - left)

    def require_row(self, auroc: Measured, number: int = 0, kind: str = "mark") -> None:
        """The dot and the interval of a row lie where the scale has them, at one height."""
        assert auroc.value is not None and auroc.low is not None and auroc.high is not None
        dot, bar = self.of(kind, "circle")[number].attrib, self.of("interval")[number].attrib
        assert float(dot["cx"]) == pytest.approx(self.place(auroc.value), abs=0.2)
        ends = [float(bar[name]) for name in ("x1", "x2")]
        assert ends == pytest.approx([self.place(v) for v in (auroc.low, auroc.high)], abs=0.2)
        assert dot["cy"] == bar["y1"] == bar["y2"]


def test_a_row_lies_where_the_scale_has_its_auroc_and_interval() -> None:
    rows = [group("sex", "female", area(0.9)), group("sex", "male", area(0.72))]
    chart = Chart(draw_subgroups(rows, OVERALL, ENGLISH))
    chart.require_row(rows[0].auroc, 0)
    chart.require_row(rows[1].auroc, 1)
    [reference] = chart.of("reference")
    assert float(reference.attrib["x1"]) == pytest.approx(chart.place(0.8), abs=0.2)
    assert (chart.told.text or "").endswith("dashed, all images: 0.800 (0.750 to 0.850).")
    chart = Chart(draw_subgroups(rows, area(0.35), ENGLISH))
    [reference] = chart.of("reference")
    assert float(reference.attrib["x1"]) == pytest.approx(chart.place(0.35), abs=0.2)
    assert chart.texts("value") == ["0.90", "0.72"]
    assert [mark[0].text for mark in chart.of("mark", "circle")] == [
        "female: 0.900 (0.850 to 0.950), 1,234 images",
        "male: 0.720 (0.670 to 0.770), 1,234 images",
    ]


@pytest.mark.parametrize(("lowest", "begin"), [(0.83, 0.5), (0.38, 0.3), (0.3, 0.3), (0.12, 0.1)])
def test_a_scale_goes_from_chance_or_the_tenth_below_the_lowest_interval_to_one(
    lowest: float, begin: float
) -> None:
    rows = [one_class("a", area(0.9)), one_class("b", area(lowest + 0.05))]
    chart = Chart(draw_classes(rows, ENGLISH))
    axis = chart.of("axis", "line")[0].attrib
    assert float(axis["x1"]) == pytest.approx(chart.place(begin), abs=0.2)
    assert float(axis["x2"]) == pytest.approx(chart.place(1), abs=0.2)
    ticks = [mark.attrib["x"] for mark in chart.of("tick")]
    assert [mark.attrib["x1"] for mark in chart.of("grid")] == ticks


def test_subgroups_stand_under_a_heading_a_column() -> None:
    rows = [
        group("age", "under 40", area(0.8)),
        group("age", "40 or more", area(0.8)),
        group("image_type", "close-up", area(0.8)),
    ]
    chart = Chart(draw_subgroups(rows, OVERALL, ENGLISH))
    assert chart.texts("heading") == ["age", "image type"]
    marks = [*chart.of("heading"), *chart.of("label", "text")]
    marks.sort(key=lambda mark: float(mark.attrib["y"]))
    assert ["".join(mark.itertext()) for mark in marks] == [
        *("age", "under 40", "40 or more", "image type", "close-up")
    ]
    assert len({mark.attrib["y"] for mark in marks}) == len(marks), "a line each"


def test_a_group_that_is_too_small_has_a_note_and_no_mark() -> None:
    small = group("sex", "other", NONE, images=1007)
    chart = Chart(draw_subgroups([group("sex", "male", area(0.8)), small], OVERALL, ENGLISH))
    assert len(chart.of("mark", "circle")) == len(chart.of("interval")) == 1
    assert "too small (1,007)" in chart.texts("label soft")
    [absent] = chart.of("absent")
    assert float(absent.attrib["y1"]) > float(chart.of("mark", "circle")[0].attrib["cy"])


def test_an_auroc_without_an_interval_is_a_point_alone_and_no_overall_is_no_line() -> None:
    chart = Chart(draw_subgroups([group("sex", "male", Measured(value=0.7))], NONE, ENGLISH))
    assert chart.of("interval") == chart.of("reference") == []
    [dot] = chart.of("mark", "circle")
    assert float(dot.attrib["cx"]) == pytest.approx(chart.place(0.7), abs=0.2)


def test_classes_stand_best_first_and_those_without_an_auroc_last() -> None:
    rows = [
        one_class("worst", area(0.6)),
        one_class("unknown", NONE),
        one_class("best", area(0.9)),
        one_class("middle", area(0.7)),
    ]
    chart = Chart(draw_classes(rows, ENGLISH))
    assert chart.texts("label") == ["best", "middle", "worst", "unknown"]
    for number, row in enumerate((rows[2], rows[3], rows[0])):
        chart.require_row(row.auroc, number)
    assert chart.texts("heading") == []
    heights = [float(mark.attrib["cy"]) for mark in chart.of("mark", "circle")]
    assert heights == sorted(heights)


def test_a_long_name_is_cut_and_whole_under_the_pointer() -> None:
    long = "seborrheic keratosis of the back"
    chart = Chart(draw_classes([one_class(long, area(0.9)), one_class("x" * 22, NONE)], ENGLISH))
    assert chart.texts("label") == ["seborrheic keratosis…", "x" * 22]
    label = chart.of("label", "text")[0]
    assert label[0].text == long
    # Below a heading there is less room.
    chart = Chart(draw_subgroups([group("site", "x" * 19, area(0.9))], OVERALL, ENGLISH))
    assert chart.texts("label") == ["x" * 17 + "…"]


def test_shortcuts_stand_below_the_model_as_hollow_marks() -> None:
    lines = [("age, sex and site", area(0.65)), ("file facts", area(0.45))]
    chart = Chart(draw_shortcuts(shortcuts(*lines), ENGLISH))
    names = ["the model, from the photograph", *(name for name, _ in lines)]
    assert chart.texts("label") == names
    chart.require_row(OVERALL)
    heights = [float(chart.of("mark", "circle")[0].attrib["cy"])]
    for number, (_, auroc) in enumerate(lines):
        dot = chart.of("mark hollow", "circle")[number].attrib
        assert float(dot["cx"]) == pytest.approx(chart.place(auroc.value or 0), abs=0.2)
        heights.append(float(dot["cy"]))
    assert heights == sorted(set(heights))
    assert float(chart.of("reference")[0].attrib["x1"]) == pytest.approx(chart.place(0.8), abs=0.2)
    values = ["0.800 (0.750 to 0.850)", "0.650 (0.600 to 0.700)", "0.450 (0.400 to 0.500)"]
    assert chart.texts("value") == values
    said = "; ".join(f"{name} {value}" for name, value in zip(names, values, strict=True))
    assert chart.told.text == f"AUROC with interval: {said}."


def test_a_shortcut_that_could_not_be_measured_has_a_row_without_a_mark() -> None:
    chart = Chart(draw_shortcuts(shortcuts(("file facts", NONE)), ENGLISH))
    assert chart.texts("value")[1] == "undefined"
    assert chart.of("mark hollow", "circle") == []


def test_columns_groups_and_counts_are_written_in_the_chart_s_language() -> None:
    rows = [group("age", "50 to 69", area(0.8)), group("sex", "female", NONE)]
    chart = Chart(draw_subgroups(rows, OVERALL, Words("fr")))
    assert chart.texts("heading") == ["âge", "sexe"]
    assert chart.texts("label") == ["50 à 69", "femme"]
    assert chart.texts("value") == ["0,80"]
    assert "1\N{NARROW NO-BREAK SPACE}234" in chart.texts("label soft")
    assert "0,5" not in chart.texts("value") and "0,6" in chart.texts("tick")
