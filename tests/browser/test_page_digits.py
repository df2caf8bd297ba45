"""A probability beside its threshold, on the page: what is rounded stands on its own side."""

from __future__ import annotations

import re

import httpx
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.browser]


def shares(text: str) -> list[float]:
    return [float(one) for one in re.findall(r"([\d.]+) %", text.replace("\xa0", " "))]


@pytest.mark.parametrize(
    ("probability", "threshold"),
    [
        (0.001528, 0.001689),  # by one digit 0.2 % beside 0.17 %, and not flagged
        (0.003441, 0.003390),  # 0.3 % beside 0.34 %, and flagged
        (0.0402, 0.0404),
        (0.0404, 0.0402),
        (0.00031, 0.00034),
        (0.00004, 0.00003),
        (0.0099, 0.0101),
        (0.99961, 0.99964),
    ],
)
def test_a_rounded_probability_stands_on_its_own_side_of_the_threshold(
    at, served, probability, threshold
):
    files = {"file": served.photographs[3].read_bytes()}
    answer = httpx.post(f"{served.address}/predict", files=files, timeout=60).json()
    flagged = probability >= threshold
    point = {**answer["threshold"], "value": threshold}
    code = "flagged" if flagged else "not_flagged"
    changed = {
        "melanoma_probability": probability,
        "threshold": point,
        "thresholds": [{**point, "flagged": flagged}],
        "flagged": flagged,
        "verdict": {"code": code, "text": "-"},
    }
    at.answer("**/predict*", {**answer, **changed})
    at.score(served.photographs[3])
    ((share,), (mark,)) = shares(at.text("#percentage")), shares(at.text("#threshold"))
    assert (share > mark) == flagged
    assert share != mark
    assert shares(at.page.get_attribute("#bar", "aria-label")) == [share, mark]
    assert shares(at.text("#meaning"))[0] == mark
    assert shares(at.text("#status"))[-1] == share
    assert "<" not in at.text("#percentage")


def test_no_more_digits_are_shown_than_that_takes(at, served):
    files = {"file": served.photographs[3].read_bytes()}
    answer = httpx.post(f"{served.address}/predict", files=files, timeout=60).json()
    point = {**answer["threshold"], "value": 0.0068}
    changed = {"threshold": point, "thresholds": [point], "melanoma_probability": 0.41234}
    at.answer("**/predict*", {**answer, **changed})
    at.score(served.photographs[3])
    assert at.text("#percentage") == "41.2 %"
    assert at.text("#threshold") == "threshold 0.68 %"
