"""Explanations on the page: asked for, waited for, legible, and cancelled."""

from __future__ import annotations

import io

import httpx
import numpy as np
import pytest
from PIL import Image

INFO = {
    "methods": ["gradcam", "lime"],
    "choices": [
        {"method": "gradcam", "title": "Grad-CAM", "options": []},
        {"method": "lime", "title": "LIME", "options": ["precision", "seed"]},
    ],
    "precisions": {
        "Low": {"evaluations": 50, "seconds": 4.2},
        "Medium": {"evaluations": 250, "seconds": None},
        "High": {"evaluations": 1000, "seconds": 84.0},
    },
}


def explain(at, **wishes: str) -> None:
    for name, value in wishes.items():
        at.page.select_option(f"#wish-{name}", value)
    at.page.click("#ask")
    at.page.locator(".panels").wait_for(timeout=60_000)


def test_gradcam_stands_beside_the_photograph_with_a_legend(at, served, screenshot):
    at.score(served.photographs[3])
    assert at.page.locator(".panels").count() == 0, "explained before it was asked for"
    explain(at)
    screenshot(at.page, "explain-gradcam")
    photograph, heat = (at.pixels(".panels canvas", i) for i in (0, 1))
    scored = np.asarray(Image.open(served.photographs[3]).convert("RGB"), np.int16)
    # The panels are cut where the service draws them: no white margin, and the picture itself.
    rows, columns = (np.linspace(4, n - 5, 24).astype(int) for n in photograph.shape[:2])
    scale = photograph.shape[0] / scored.shape[0]
    found = photograph[np.ix_(rows, columns)]
    nearest = scored[np.ix_((rows / scale).astype(int), (columns / scale).astype(int))]
    assert np.abs(found - nearest).mean() < 12
    assert np.abs(photograph - heat).mean() > 5, "the second panel shows no map"
    for shown in (photograph, heat):
        for i in (3, 10, -11, -4):
            for edge in (shown[i], shown[:, i]):
                assert (edge == 255).all(axis=-1).mean() < 0.5, "a margin was left on"
    assert "high evidence" in at.text(".legend")
    assert "melanoma" in at.text(".panels")
    boxes = [at.page.locator(".panels canvas").nth(i).bounding_box() for i in (0, 1)]
    assert boxes[0]["y"] == pytest.approx(boxes[1]["y"], abs=1), "not beside each other"
    assert "not a medical device" in at.text("#explain")


def test_lime_offers_three_precisions_with_their_expected_time(at, served, screenshot):
    info = httpx.get(f"{served.address}/info", timeout=20).json()
    at.answer("**/info", {**info, "models": [{**m, "explain": INFO} for m in info["models"]]})
    at.visit()
    at.score(served.photographs[3])
    assert at.page.is_hidden("[for=wish-precision]")
    at.page.select_option("#wish-method", "lime")
    offered = at.page.locator("#wish-precision option").all_inner_texts()
    assert offered == [
        "Low: 50 images, about 4.2 sec",
        "Medium: 250 images",
        "High: 1,000 images, about 84 sec",
    ]
    explain(at, method="lime", precision="Low")
    screenshot(at.page, "explain-lime")
    legend = at.text(".legend")
    for words in ("for", "against", "largest areas", "percentage points"):
        assert words in legend
    assert "50 images, seed 0, R²" in at.text("#explained")
    at.page.get_by_text("The largest areas in numbers").click()
    weights = at.page.locator("#explained details li").all_inner_texts()
    assert 1 <= len(weights) <= 5
    assert all("points" in row and "of the picture" in row for row in weights)


def test_what_one_explanation_took_is_what_the_next_is_expected_to_take(open_page, served):
    at = open_page()
    at.score(served.photographs[3])
    explain(at, method="lime", precision="Low")
    known = at.page.locator("#wish-precision option", has_text="Low: 50 images, about")
    known.wait_for(state="attached")
    info = httpx.get(f"{served.address}/info", timeout=20).json()
    expected = info["models"][0]["explain"]["precisions"]["Low"]["seconds"]
    told = f"{expected:.{2 if expected < 1 else 1}f}".rstrip("0").rstrip(".")
    assert f"about {told}" in known.text_content()
    assert sum(address.endswith("/info") for address in at.requests) == 2


def test_another_class_can_be_explained_and_the_picture_saved(at, served):
    at.page.select_option("#model", "folders")
    at.score(served.photographs[3])
    explain(at, **{"class": "Infestations & Bites"})
    assert "what speaks for Infestations & Bites" in at.text(".panels")
    with at.page.expect_download() as download:
        at.page.get_by_role("button", name="Save the picture").click()
    picture = Image.open(io.BytesIO(download.value.path().read_bytes()))
    assert picture.format == "PNG"
    assert picture.width == 1100


def test_a_wait_is_shown_and_can_be_cancelled_and_tried_again(at, served, screenshot):
    at.score(served.photographs[3])
    held = []
    at.page.route("**/explain*", lambda route: held.append(route))
    at.page.click("#ask")
    at.page.locator("#wait").get_by_text("so far").wait_for()
    screenshot(at.page, "explain-wait")
    assert at.page.is_disabled("#ask")
    at.page.click("#cancel")
    at.page.locator("#progress").wait_for(state="hidden")
    assert at.page.is_enabled("#ask")
    at.page.unroute("**/explain*")
    explain(at)


def test_a_refused_explanation_is_said_and_the_next_one_works(at, served):
    at.score(served.photographs[3])
    error = {"code": "busy", "message": "another explanation is running", "request_id": "1"}
    at.answer("**/explain*", {"success": False, "error": error}, status=503)
    at.page.click("#ask")
    at.page.locator("#explain-error").get_by_text("Another explanation is running.").wait_for()
    assert at.page.is_visible("#percentage"), "the answer went with the explanation"
    at.context.unroute("**/explain*")
    explain(at)
    assert at.text("#explain-error") == ""


def test_a_new_photograph_takes_the_old_explanation_away(at, served):
    at.score(served.photographs[3])
    explain(at)
    at.choose(served.photographs[4])
    assert at.page.is_hidden("#explain")


def test_an_explanation_has_the_numbers_of_the_prevalence_that_was_asked_for(at, served):
    """The picture that was saved had the bundle's own probability beside the page's other one."""
    at.score(served.photographs[3])
    saved = []
    for prevalence in (None, "2.9"):
        if prevalence:
            at.page.fill("#prevalence", prevalence)
            at.page.press("#prevalence", "Enter")
            at.page.locator("#explain").get_by_text("where 2.9").wait_for()
            assert "where 2.9 % of lesions" in at.text("#calibrated")
        else:
            at.page.select_option("#wish-method", "gradcam")
            at.page.click("#ask")
        at.page.locator("#explained canvas").first.wait_for()
        with at.page.expect_download() as download:
            at.page.get_by_role("button", name="Save the picture").click()
        saved.append(download.value.path().read_bytes())
    assert saved[0] != saved[1]
