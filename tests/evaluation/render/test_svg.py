"""Inline SVG: round ticks, marks where the data say, text that is never markup."""

from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from melanoma.evaluation.render.svg import (
    WIDTH,
    Axis,
    Panel,
    dot,
    legend,
    line,
    nice_step,
    picture,
    share_axis,
    text,
    ticks_between,
)

EVIL = '<script>"&'
UNIT = Axis("across", 0.0, 1.0, (0.0, 0.5, 1.0))
TENS = Axis("up", -10.0, 10.0, (-10.0, 0.0, 10.0))


def read(mark: str) -> ElementTree.Element:
    return ElementTree.fromstring(mark)


def panel() -> Panel:
    return Panel("p", UNIT, TENS, top=20, height=246)


def drawn(made: Panel) -> ElementTree.Element:
    return read(f"<g>{''.join(made.marks)}</g>")


def points(element: ElementTree.Element) -> list[tuple[float, float]]:
    pairs = (pair.split(",") for pair in element.attrib["points"].split())
    return [(float(x), float(y)) for x, y in pairs]


def rounded(*places: tuple[float, float]) -> list[tuple[float, float]]:
    return [(round(x, 1), round(y, 1)) for x, y in places]


@pytest.mark.parametrize(
    ("span", "parts", "step"),
    [(1, 5, 0.2), (1, 4, 0.25), (0.3, 1, 0.5), (7, 1, 10), (100, 10, 10), (0.013, 5, 0.005)],
)
def test_a_step_is_the_smallest_round_number_of_which_so_many_reach(
    span: float, parts: int, step: float
) -> None:
    assert nice_step(span, parts) == pytest.approx(step)


@pytest.mark.parametrize(
    ("low", "high", "parts", "ticks"),
    [
        (0.0, 1.0, 5, (0, 0.2, 0.4, 0.6, 0.8, 1)),
        (0.5, 1.0, 4, (0.6, 0.8, 1)),
        (-0.03, 0.1, 5, (0, 0.05, 0.1)),
        (0.21, 0.29, 5, (0.22, 0.24, 0.26, 0.28)),
        (1.0, 3.0, 2, (1, 2, 3)),
        (0.0, 0.3, 3, (0, 0.1, 0.2, 0.3)),  # 0.3 / 0.1 is a little less than 3
        (2.0, 2.0, 5, (2,)),
    ],
)
def test_ticks_are_multiples_of_the_step_within_both_ends(
    low: float, high: float, parts: int, ticks: tuple[float, ...]
) -> None:
    assert ticks_between(low, high, parts) == ticks


@pytest.mark.parametrize(
    ("high", "top"), [(0.07, 0.1), (0.1, 0.1), (0.21, 0.25), (0.6, 1), (1, 1), (1.2, 1)]
)
def test_an_axis_of_shares_ends_at_a_round_number_and_never_above_one(
    high: float, top: float
) -> None:
    axis = share_axis("share", high, "{:.3f}!".format)
    assert (axis.label, axis.low, axis.high) == ("share", 0, pytest.approx(top))
    assert (axis.ticks[0], axis.ticks[-1]) == (0, axis.high)
    assert axis.form(0.5) == "0.500!"


def test_text_of_a_run_is_text_wherever_it_stands() -> None:
    words = read(text(3, 4.25, EVIL, "label", anchor="end", tip=f"{EVIL} in full"))
    assert [child.text for child in words] == [f"{EVIL} in full"]
    assert words[0].tail == EVIL
    assert words.attrib == {"x": "3.0", "y": "4.2", "class": "label", "text-anchor": "end"}
    assert read(dot(1, 2, "mark", tip=EVIL))[0].text == EVIL
    whole = read(picture("n", 80, [text(0, 0, "mark")], title=EVIL, desc=f"{EVIL}."))
    assert [child.text for child in whole] == [EVIL, f"{EVIL}.", "mark"]
    named = drawn(Panel("p", Axis(EVIL, 0, 1, (0.0,)), Axis(f"{EVIL}y", 0, 1, (0.0,))))
    names = [mark.text for mark in named if mark.get("class") == "name"]
    assert names == [EVIL, f"{EVIL}y"]


def test_a_tip_that_says_nothing_new_is_left_out() -> None:
    assert list(read(text(0, 0, "nevus", tip="nevus"))) == list(read(text(0, 0, "nevus"))) == []
    assert list(read(dot(0, 0, "mark"))) == []


def test_a_picture_is_named_and_described_by_its_own_ids() -> None:
    found = read(picture("roc", 120.5, [], title="ROC", desc="A curve."))
    assert found.attrib["viewBox"] == f"0 0 {WIDTH:g} 120.5"
    texts = {child.attrib["id"]: child.text for child in found}
    assert [texts[name] for name in found.attrib["aria-labelledby"].split()] == ["ROC", "A curve."]
    assert all(name.startswith("roc-") for name in texts)


def test_a_legend_s_entries_follow_each_other_without_overlap() -> None:
    marks = [read(mark) for mark in legend(5, 14, [("curve", "the model"), ("all", "others")])]
    assert [mark.tag for mark in marks] == ["line", "text", "line", "text"]
    assert [mark.get("class") for mark in marks[::2]] == ["curve", "all"]
    assert [mark.text for mark in marks[1::2]] == ["the model", "others"]
    ends = [float(mark.attrib.get("x1", mark.attrib.get("x", ""))) for mark in marks]
    assert ends[0] == 5 and ends == sorted(ends)
    assert float(marks[0].attrib["x2"]) < ends[1]
    # A letter of this font is about six units wide.
    assert ends[2] > ends[1] + 6 * len("the model")


def test_data_are_placed_in_proportion_between_the_ends_of_both_axes() -> None:
    made = panel()
    assert made.at(0, -10) == (made.left, made.bottom)
    assert made.at(1, 10) == (made.right, made.top) == (WIDTH - 12, 20)
    assert made.at(0.25, 5) == pytest.approx(
        (made.left + (made.right - made.left) / 4, made.top + (made.bottom - made.top) / 4)
    )
    turned = Panel("p", TENS, UNIT)
    middle = ((turned.left + turned.right) / 2, (turned.top + turned.bottom) / 2)
    assert turned.at(0, 0.5) == pytest.approx(middle)


def test_an_axis_with_longer_numbers_leaves_them_more_room() -> None:
    long = Axis("up", 0, 1, (0.0, 1.0), "{:.6f}".format)
    assert Panel("p", UNIT, long).left >= Panel("p", UNIT, UNIT).left + 5 * 6


def test_each_tick_is_written_at_its_place_and_as_its_axis_says() -> None:
    made = Panel("p", Axis("a", 0, 1, (0.0, 0.5), "{:.0%}".format), TENS, top=20, height=246)
    ticks = {mark.text: mark.attrib for mark in drawn(made) if mark.get("class") == "tick"}
    assert list(ticks) == ["-10", "0", "10", "0%", "50%"]
    assert float(ticks["50%"]["x"]) == pytest.approx(made.at(0.5, 0)[0], abs=0.06)
    assert float(ticks["50%"]["y"]) > made.bottom
    assert float(ticks["10"]["y"]) - 4 == pytest.approx(made.at(0, 10)[1], abs=0.06)
    assert ticks["10"]["text-anchor"] == "end" and float(ticks["10"]["x"]) < made.left
    grid = [float(mark.attrib["y1"]) for mark in drawn(made) if mark.get("class") == "grid"]
    assert grid == pytest.approx([made.at(0, tick)[1] for tick in TENS.ticks], abs=0.06)


def test_lines_and_bands_are_clipped_to_the_panel_they_belong_to() -> None:
    made = panel()
    made.line([0, 0.5, 2], [0, 5, 0], "curve")
    made.band([0, 1], [-5, -6], [5, 6])
    clip, *_, curve, band = drawn(made)
    assert (curve.tag, curve.get("class")) == ("polyline", "curve")
    assert points(curve) == rounded(made.at(0, 0), made.at(0.5, 5), made.at(2, 0))
    # There along the upper edge and back along the lower one: else it would cross itself.
    edge = [made.at(0, 5), made.at(1, 6), made.at(1, -6), made.at(0, -5)]
    assert points(band) == rounded(*edge)
    assert curve.attrib["clip-path"] == band.attrib["clip-path"] == f"url(#{clip[0].attrib['id']})"
    area = {name: float(value) for name, value in clip[0][0].attrib.items()}
    assert (area["x"], area["y"]) == (made.left - 1, made.top - 1)
    assert area["x"] + area["width"] == made.right + 1
    assert area["y"] + area["height"] == made.bottom + 1
    with pytest.raises(ValueError, match="zip"):
        made.line([0, 1], [0], "curve")


def test_a_bar_stands_upright_and_a_dot_lies_at_its_point() -> None:
    made = panel()
    made.bar(0.5, -5, 5, "interval")
    made.dot(0.5, 5, "mark", tip="five", radius=2.5)
    *_, bar, mark = drawn(made)
    places = rounded(made.at(0.5, -5), made.at(0.5, 5))
    ends = [tuple(float(bar.attrib[name + n]) for name in "xy") for n in "12"]
    assert ends == places
    assert (float(mark.attrib["cx"]), float(mark.attrib["cy"])) == places[1]
    assert (mark.attrib["r"], mark[0].text) == ("2.5", "five")


@pytest.mark.parametrize("above", [False, True])
def test_letters_never_stand_on_each_other_and_far_ones_are_led_to_their_point(
    above: bool,
) -> None:
    made = panel()
    for letter in "ABCD":
        made.letter(0.5, 0, letter, above=above)
    letters = [mark for mark in drawn(made) if mark.get("class") == "label letter"]
    heights = [float(mark.attrib["y"]) for mark in letters]
    steps = [b - a for a, b in pairwise(heights)]
    assert all(step <= -11.9 if above else step >= 11.9 for step in steps)
    leaders = [mark for mark in drawn(made) if mark.get("class") == "leader"]
    assert len(leaders) == 3, "the first stands at its point"
    here = made.at(0.5, 0)
    assert {(float(m.attrib["x1"]), float(m.attrib["y1"])) for m in leaders} == {rounded(here)[0]}
    made.letter(0.9, 0, "E", above=above)
    assert len(re.findall("leader", "".join(made.marks))) == 3


def test_a_letter_in_the_corner_stays_in_the_panel() -> None:
    made = panel()
    made.letter(1, -10, "A")
    letter = drawn(made)[-1]
    assert float(letter.attrib["x"]) < made.right
    assert float(letter.attrib["y"]) < made.bottom


def test_a_panel_s_picture_holds_its_marks_at_its_height() -> None:
    made = panel()
    made.marks.append(line(1, 2, 3, 4, "own"))
    found = read(made.svg("title", "told"))
    assert found.attrib["viewBox"].endswith(" 246")
    own = found[-1].attrib
    assert own == {"x1": "1.0", "y1": "2.0", "x2": "3.0", "y2": "4.0", "class": "own"}
