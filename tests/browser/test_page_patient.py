"""Several photographs of one patient on the page: a ranked wall, each lesion's own number on it."""

from __future__ import annotations

import csv
import io
import json
import re

import httpx
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.browser]


def test_several_photographs_of_a_patient_become_a_ranked_wall(at, served):
    files = served.photographs[:4]
    at.choose([str(file) for file in files])
    at.predict()
    at.page.locator("#patient button").click(timeout=60_000)
    lesions = at.page.locator("#patient .wall li")
    lesions.first.wait_for(timeout=60_000)
    assert lesions.count() == 4
    said = [text.replace("\xa0", " ") for text in lesions.all_inner_texts()]
    for number, text in enumerate(said, start=1):
        assert f"Rank {number} of 4" in text
    shares = [float(re.search(r"Melanoma (\d+\.\d)", text)[1]) for text in said]
    assert shares == sorted(shares, reverse=True)
    assert all("lagged" in text for text in said), "each has its own verdict in words"
    assert "Experimental" in at.text("#patient") and "no probability with context" in at.text(
        "#patient"
    )
    assert at.page.evaluate("document.activeElement.textContent") == "One patient's lesions"
    assert at.sideways == 0
    with at.page.expect_download() as download:
        at.page.locator("#patient").get_by_role("button", name="CSV").click()
    rows = list(csv.DictReader(io.StringIO(download.value.path().read_text("utf-8-sig"))))
    assert [row["file"] for row in rows] == [file.name for file in files]
    assert sorted(int(row["rank_in_patient"]) for row in rows) == [1, 2, 3, 4]
    with at.page.expect_download() as download:
        at.page.locator("#patient").get_by_role("button", name="JSON").click()
    saved = json.loads(download.value.path().read_text())
    assert saved["experimental"] is True and len(saved["lesions"]) == 4
    at.page.select_option("#language", "fr")
    assert "Rang 1 sur 4" in at.text("#patient") and "Expérimental" in at.text("#patient")


def test_the_one_that_stands_out_is_marked_and_told_in_words(at, served):
    files = served.photographs[:3]
    sent = [("files", file.read_bytes()) for file in files]
    answer = httpx.post(f"{served.address}/predict/patient", files=sent, timeout=60).json()
    answer["lesions"][1] |= {"outlier": True, "odds_of_others": 23.4, "rank_in_patient": 1}
    at.answer("**/predict/patient*", answer)
    at.choose([str(file) for file in files])
    at.predict()
    at.page.locator("#patient button").click(timeout=60_000)
    marked = at.page.locator("#patient .wall li.outlier")
    marked.wait_for(timeout=60_000)
    assert marked.count() == 1
    said = marked.inner_text().replace("\xa0", " ")
    assert "Stands out: its odds of melanoma are 23 times" in said and "Have a doctor look" in said
    assert "1 stands out among the others" in at.text("#patient .summary")


def test_a_picture_that_is_unscorable_keeps_its_flag_in_the_table_and_on_the_wall(at, served):
    """A melanoma without color, such as one of 16 % beside a threshold of 4 %."""
    files = served.photographs[:3]
    sent = [("files", file.read_bytes()) for file in files]
    for route in ("batch", "patient"):
        answer = httpx.post(f"{served.address}/predict/{route}", files=sent, timeout=60).json()
        flagged, plain = answer["results"][:2]
        for result, flag in ((flagged, True), (plain, False)):
            result["verdict"], result["flagged"] = {"code": "unscorable", "text": "It is."}, flag
            if route == "patient":
                result["lesion"] = None
        if route == "patient":
            answer["lesions"] = answer["lesions"][2:]
        at.answer(f"**/predict/{route}*", answer)
    at.choose([str(file) for file in files])
    at.predict()
    at.page.locator("#patient button").click(timeout=60_000)
    at.page.locator("#patient .wall").wait_for(timeout=60_000)
    said = "Its score would flag it as a possible melanoma all the same: have a doctor look"
    for place in ("#batch tbody tr", "#patient p.alert"):
        rows = at.page.locator(place).all_inner_texts()
        (first,) = (row for row in rows if files[0].name in row)
        (second,) = (row for row in rows if files[1].name in row)
        assert said in first and said not in second and "scored" in second, place
    at.page.select_option("#language", "fr")
    assert "la signalerait malgré tout" in at.text("#patient")


@pytest.mark.parametrize("then", ["clear", "language"])
def test_a_wall_that_comes_late_is_told_of_its_own_batch_alone(at, served, then):
    """Cleared, nothing of the patient is left in the page; drawn anew, the wall finds its place."""
    held = []
    at.page.route("**/predict/patient*", lambda route: held.append(route))
    at.choose([str(file) for file in served.photographs[:3]])
    at.predict()
    at.page.locator("#batch:not([hidden])").wait_for()
    with at.page.expect_request("**/predict/patient*"):
        at.page.get_by_role("button", name="Rank as one").click()
    if then == "clear":
        at.page.click("#clear")
        with at.page.expect_response("**/predict/patient*"):
            held[0].continue_()
        at.page.evaluate("fetch('/health').then((answer) => answer.text())")  # it came after
        assert at.page.locator("#batch *").count() == 0, "names and answers are kept"
        assert at.text("#status") == ""
    else:
        at.page.select_option("#language", "fr")
        held[0].continue_()
        at.page.locator("#patient .wall li").first.wait_for(timeout=60_000)
        assert "Rang 1 sur 3" in at.text("#patient")


def test_a_cleared_table_is_no_longer_in_the_page(at, served):
    at.choose([str(file) for file in served.photographs[:2]])
    at.predict()
    at.page.locator("#batch tbody tr").first.wait_for()
    at.page.click("#clear")
    assert at.page.locator("#batch *").count() == 0


def test_a_file_that_is_refused_is_told_in_the_page_s_language_and_saved_for_a_spreadsheet(
    at, served, tmp_path
):
    text = tmp_path / "病変.jpg"
    text.write_text("no photograph")
    at.choose([str(served.photographs[0]), str(served.photographs[1]), str(text)])
    at.predict()
    at.page.locator("#batch:not([hidden])").wait_for()
    at.page.locator("#patient button").click(timeout=60_000)
    at.page.locator("#patient .wall").wait_for(timeout=60_000)
    with at.page.expect_download() as download:
        at.page.locator("#patient").get_by_role("button", name="CSV").click()
    saved = download.value.path().read_bytes()
    assert saved.startswith(b"\xef\xbb\xbffile,"), "Excel takes it for another encoding"
    assert "病変.jpg" in saved.decode()
    at.page.select_option("#language", "fr")
    assert "病変.jpg : Ce n'est pas une image JPEG" in at.text("#patient")
