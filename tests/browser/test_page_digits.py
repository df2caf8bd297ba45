"""A probability beside its threshold, on the page: what is rounded stands on its own side."""

from __future__ import annotations

import re

import httpx
import pytest

from melanoma.evaluation import number_format

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
        (0.01004, 0.00996),  # "1.0 %", flagged, beside "1.00 %"
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


@pytest.mark.parametrize(
    ("threshold", "probability"),
    [(0.0068, 0.41234), (0.000674, 0.00183), (0.0000674, 0.41234), (0.000674, 1e-30)],
)
def test_no_more_digits_are_shown_than_that_takes(at, served, threshold, probability):
    """The threshold as report and predict tell it."""
    files = {"file": served.photographs[3].read_bytes()}
    answer = httpx.post(f"{served.address}/predict", files=files, timeout=60).json()
    point = {**answer["threshold"], "value": threshold}
    changed = {"threshold": point, "thresholds": [point], "melanoma_probability": probability}
    at.answer("**/predict*", {**answer, **changed})
    at.score(served.photographs[3])
    shown = {0.41234: "41.2 %", 0.00183: "0.18 %", 1e-30: "< 0.00000001 %"}[probability]
    assert at.text("#percentage").replace("\xa0", " ") == shown
    if probability > 1e-9:
        assert at.text("#threshold") == f"threshold {number_format.threshold(threshold)}"


def test_members_and_a_patient_s_lesions_have_the_digits_of_their_answers(open_page, served):
    """As in the table above the wall: by one digit all of them were "0.2 %"."""
    at = open_page()
    files = [("files", path.read_bytes()) for path in served.photographs[:3]]
    answer = httpx.post(f"{served.address}/predict/patient", files=files, timeout=60).json()
    scores = (0.00153, 0.00169, 0.00182)
    for result in answer["results"]:
        score = scores[result["index"]]
        point = {**result["threshold"], "value": 0.00168}
        result |= {"melanoma_probability": score, "threshold": point, "thresholds": [point]}
        result |= {"flagged": score >= 0.00168, "by_fold": [0.00161, 0.0252]}
    for lesion in answer["lesions"]:
        lesion["melanoma_probability"] = scores[lesion["images"][0]]
    at.answer("**/predict/batch*", answer)
    at.answer("**/predict/patient*", answer)
    at.choose([str(path) for path in served.photographs[:3]])
    at.predict()
    at.page.locator("#batch:not([hidden])").wait_for()
    at.page.locator("#patient button").click()
    at.page.locator("#patient .wall").wait_for()
    table = [shares(text)[0] for text in at.page.locator("#batch td.number").all_inner_texts()]
    wall = [shares(text)[0] for text in at.page.locator("#patient .own").all_inner_texts()]
    assert sorted(table) == sorted(wall) == [0.15, 0.169, 0.18]
    at.page.locator("#batch [data-index]").first.click()
    assert shares(at.text("#spread")) == [0.16, 2.5]


@pytest.mark.parametrize(
    ("prevalence", "share", "field"), [("0.0025", 0.25, "0.25"), ("0.999999", 99.9, "99.9999")]
)
def test_the_share_of_melanomas_that_was_asked_for_is_not_rounded_to_another(
    at, served, prevalence, share, field
):
    files = {"file": served.photographs[3].read_bytes()}
    address = f"{served.address}/predict?prevalence={prevalence}"
    told = httpx.post(address, files=files, timeout=60).json()
    at.answer("**/predict*", told)
    at.score(served.photographs[3])
    for place in ("#calibrated", "#frequency"):
        assert share in shares(at.text(place))
    assert at.page.input_value("#prevalence") == field
    assert at.page.evaluate("document.querySelector('#prevalence').checkValidity()")
