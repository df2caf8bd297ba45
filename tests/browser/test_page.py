"""The page's first tab: a photograph, its answer, and what goes wrong between them."""

from __future__ import annotations

import json

import httpx
import pytest
from PIL import Image
from tiny_service import encode

from melanoma.evaluation.asked_prevalence import GREATEST_PREVALENCE, LEAST_PREVALENCE


def expected(served, photograph, model: str = "tiny") -> dict:
    files = {"file": photograph.read_bytes()}
    address = f"{served.address}/predict?model={model}"
    return httpx.post(address, files=files, timeout=60).json()


def spoken(share: float, digits: int = 1) -> str:
    return f"{share * 100:.{digits}f} %"


def test_a_chosen_photograph_gets_the_services_answer(at, served):
    answer = expected(served, served.photographs[3])
    assert at.page.is_disabled("#predict")
    assert at.page.is_hidden("#result")
    at.choose(served.photographs[3])
    assert at.page.is_visible("#preview")
    at.page.wait_for_function("document.getElementById('preview').naturalWidth === 48")
    assert at.page.is_hidden("#result"), "something was shown before it was asked for"
    at.predict()
    at.wait_for_result()
    assert at.text("#percentage") == spoken(answer["melanoma_probability"])
    assert at.text("#of") == "probability of melanoma"
    flagged, below = "Flagged as a possible melanoma", "Not flagged: below the threshold"
    assert at.text("#verdict") == (flagged if answer["flagged"] else below)
    likeliest = f"{answer['prediction']} {spoken(answer['probability'])}"
    assert at.text("#likeliest") == f"Likeliest class: {likeliest}"
    assert spoken(answer["threshold"]["value"]) in at.text("#threshold")
    low, high = min(answer["by_fold"]), max(answer["by_fold"])
    above = sum(p >= answer["threshold"]["value"] for p in answer["by_fold"])
    folds = f"The 2 folds say between {spoken(low)} and {spoken(high)}."
    assert at.text("#spread") == f"{folds} {above} of 2 reach the threshold."
    assert at.page.locator("#folds i").count() == 2
    assert at.text("#name") == "tiny, version 1"
    assert at.text("#digest") == answer["model"]["digest"][:12]
    assert "Melanoma probability" in at.text("#status")


def test_calibration_and_the_disclaimer_stand_beside_the_probability(at, served):
    at.score(served.photographs[3])
    prevalence = spoken(expected(served, served.photographs[3])["prevalence"])
    said = f"Calibrated, for a place where {prevalence} of lesions are melanomas. "
    assert at.text("#calibrated") == said + "Research software, not a medical device."
    number = at.page.locator("#percentage").bounding_box()
    words = at.page.locator("#calibrated").bounding_box()
    assert words["y"] - (number["y"] + number["height"]) < 60
    uncalibrated = {**expected(served, served.photographs[3]), "calibrated": False}
    at.answer("**/predict*", uncalibrated)
    at.predict()
    at.page.locator("#calibrated").get_by_text("Not calibrated").wait_for()


def test_the_threshold_has_a_place_on_the_bar_and_a_meaning_with_the_reports_intervals(at, served):
    at.score(served.photographs[3])
    at.page.locator("#meaning").get_by_text("In cross-validation").wait_for()
    point = json.loads(served.report.read_text())["thresholds"][0]
    for metric in ("sensitivity", "specificity"):
        value, low, high = (
            "> 99 %" if 0.99 < point[metric][k] < 1 else spoken(point[metric][k], 0)
            for k in ("value", "low", "high")
        )
        assert f"{value} ({low} to {high})" in at.text("#meaning")
    answer = expected(served, served.photographs[3])
    bar, fill, mark = (at.page.locator(s).bounding_box() for s in ("#bar", "#fill", "#threshold"))
    share = max(answer["melanoma_probability"], 12.8 / bar["width"])
    assert fill["width"] / bar["width"] == pytest.approx(share, abs=0.01)
    middle = (mark["x"] + mark["width"] / 2 - bar["x"]) / bar["width"]
    assert middle == pytest.approx(answer["threshold"]["value"], abs=0.01)
    # In colors of the person's own the bar is still seen.
    at.page.emulate_media(forced_colors="active")
    color = "(e) => getComputedStyle(e).backgroundColor"
    assert at.page.eval_on_selector("#fill", color) != at.page.eval_on_selector("#bar", color)


def test_the_verdict_has_a_color_and_never_a_color_alone(at, served):
    answer = expected(served, served.photographs[3])
    seen = {}
    for flagged in (True, False):
        code = "flagged" if flagged else "not_flagged"
        verdict = {"code": code, "text": "-"}
        at.answer("**/predict*", {**answer, "flagged": flagged, "verdict": verdict})
        at.score(served.photographs[3])
        color = at.page.eval_on_selector("#verdict", "(e) => getComputedStyle(e).color")
        sign = at.page.get_attribute("#verdict svg path", "d")
        seen[flagged] = (color, sign, at.text("#verdict"))
    for one, other in zip(seen[True], seen[False], strict=True):
        assert one != other


def test_the_likeliest_classes_are_listed_with_bars(at, served):
    at.page.select_option("#model", "folders")
    at.score(served.photographs[3])
    answer = expected(served, served.photographs[3], "folders")
    order = sorted(answer["by_class"].items(), key=lambda pair: -pair[1])
    rows = [line.split("\n") for line in at.page.locator("#classes li").all_inner_texts()]
    said = [" ".join(row).replace("\xa0", " ").replace("  ", " ") for row in rows]
    assert said == [f"{name} {spoken(share, 2)}" for name, share in order]
    assert at.text("#percentage") == spoken(answer["probability"])
    assert "no melanoma class" in at.text("#verdict")
    assert at.page.locator("#threshold, #meaning").count() == 0
    assert at.page.locator("#classes b").count() == 0, "a class's name became markup"


def test_only_the_five_likeliest_of_many_classes_are_listed(at, served):
    names = [f"class {i}" for i in range(9)]
    shares = [i / 36 for i in range(9)]
    answer = expected(served, served.photographs[3])
    many = {**answer, "by_class": dict(zip(names, shares, strict=True))}
    at.answer("**/predict*", many)
    at.score(served.photographs[3])
    rows = at.page.locator("#classes li span:first-child").all_inner_texts()
    assert [row.strip() for row in rows] == [f"class {i}" for i in (8, 7, 6, 5, 4)]


def test_after_an_error_the_next_photograph_works(at, served, tmp_path):
    alert = at.page.locator("#error")
    start = served.photographs[1].read_bytes()[:200]
    # Told before a byte is sent: what is no picture, what browsers cannot read, what is too large.
    for name, data, words in (
        ("notes.jpg", b"no photograph", "not a JPEG, PNG or WEBP image"),
        ("iphone.heic", b"\0\0\0\x18ftypheic" + b"\0" * 32, "HEIC"),
        ("large.jpg", start + b"\0" * 10_000_001, "up to 10 MB are taken"),
    ):
        (tmp_path / name).write_bytes(data)  # by its path: Chromium reads it where it lies
        at.choose(tmp_path / name)
        alert.get_by_text(words).wait_for()
        assert at.page.is_disabled("#predict")
    assert not any("predict" in address for address in at.requests)
    # And what only the service finds.
    at.choose({"name": "half.jpg", "mimeType": "image/jpeg", "buffer": start})
    at.predict()
    alert.get_by_text("truncated").or_(alert.get_by_text("damaged")).first.wait_for()
    assert alert.inner_text()[0].isupper()
    assert at.page.is_hidden("#result")
    assert at.page.is_enabled("#predict")
    at.choose(served.photographs[1])
    at.page.locator("#preview").wait_for()
    assert at.text("#error") == ""
    at.predict()
    at.wait_for_result()


def test_a_service_that_is_gone_is_said_and_can_be_tried_again(at, served):
    at.choose(served.photographs[1])
    at.page.route("**/predict*", lambda route: route.abort())
    at.predict()
    at.page.locator("#error").get_by_text("did not answer").wait_for()
    at.page.unroute("**/predict*")
    at.page.route("**/predict*", lambda route: route.fulfill(status=502, body="<h1>Bad</h1>"))
    at.predict()
    at.page.locator("#error").get_by_text("status 502").wait_for()
    at.page.unroute("**/predict*")
    assert at.page.is_visible("#preview"), "the photograph went with the service"
    at.predict()
    at.wait_for_result()
    assert at.text("#error") == ""


def test_the_button_says_that_it_waits_and_a_cleared_answer_never_appears(at, served):
    held = []
    at.page.route("**/predict*", lambda route: held.append(route))
    at.choose(served.photographs[1])
    at.predict()
    at.page.wait_for_function("() => document.getElementById('predict').ariaBusy === 'true'")
    assert at.page.is_disabled("#predict")
    assert "Scoring" in at.text("#predict")
    assert "S" in at.text("#waiting-words")
    assert at.page.is_hidden("#empty")
    at.page.click("#stop")
    assert at.text("#predict") == "Predict"
    assert at.focus == "predict"
    assert at.page.is_visible("#preview")
    assert "still here" in at.text("#status")
    at.predict()
    at.page.get_by_role("button", name="Clear").click()
    assert at.text("#predict") == "Predict"
    at.page.wait_for_timeout(200)
    assert at.page.is_hidden("#result")
    assert at.page.is_hidden("#waiting")
    assert at.text("#error") == ""
    at.page.unroute("**/predict*")
    at.score(served.photographs[1])


def test_warnings_are_told_in_words(at, served):
    white = encode(Image.new("RGB", (32, 32), "white"))
    at.score({"name": "w.png", "mimeType": "image/png", "buffer": white})
    assert "little to see" in at.text("#warnings")


def test_the_scored_square_is_shown(at, served):
    # A gray field between two white ones: only the field is in the center square.
    image = Image.new("RGB", (192, 64), "white")
    image.paste((90, 90, 90), (64, 0, 128, 64))
    buffer = encode(image)
    info = httpx.get(f"{served.address}/info", timeout=20).json()
    side = info["models"][0]["image_size"]
    corners = {"center": [90] * 3, "squash": [255] * 3}
    for fit, corner in corners.items():
        info["models"][0]["fit"] = fit
        at.answer("**/info", info)
        at.visit()
        at.score({"name": "wide.png", "mimeType": "image/png", "buffer": buffer})
        at.page.locator("#seen canvas").wait_for()
        square = at.pixels("#seen canvas")
        assert square.shape == (side, side, 3)
        assert square[side // 2, side // 2].tolist() == [90] * 3
        assert square[0, 0].tolist() == corner
        words = {"center": "center square", "squash": "whole photograph"}[fit]
        assert words in at.text("#seen figcaption")
        assert f"{side} \N{MULTIPLICATION SIGN} {side} pixels" in at.text("#seen figcaption")
        assert at.page.is_visible("#cut") == (fit == "center")
        if fit == "squash":
            assert "whole photograph" in at.text("#framing-words")
            continue
        # The square is there before Predict; moved to the right, it holds the white field alone.
        at.page.locator("#cut").focus()
        for _ in range(26):
            at.page.keyboard.press("ArrowRight")
        assert at.page.is_hidden("#result"), "an answer about another square stayed"
        assert "83 % across" in at.page.get_attribute("#cut", "aria-label")
        with at.page.expect_request("**/predict*") as asked:
            at.predict()
        assert b"\x89PNG" in asked.value.post_data_buffer
        at.page.locator("#seen canvas").wait_for()
        assert at.pixels("#seen canvas")[side // 2, side // 2].tolist() == [255] * 3
        assert "square you chose" in at.text("#seen figcaption")
        at.page.click("#cut-reset")
        assert at.page.is_disabled("#cut-reset")


def test_name_type_and_size_stand_under_the_preview(at, served):
    name = "<img src=x onerror=alert(1)>.jpg"
    data = served.photographs[0].read_bytes()
    at.choose({"name": name, "mimeType": "image/jpeg", "buffer": data})
    assert at.text("#invitation") == name
    assert at.page.locator("#invitation img").count() == 0
    at.page.locator("#facts .pixels").wait_for()
    facts = at.page.locator("#facts span").all_inner_texts()
    size = f"{len(data) / 1000:.1f}".removesuffix(".0")
    assert facts == ["image/jpeg", f"{size} kB", "48 \N{MULTIPLICATION SIGN} 48 px"]


def test_an_answer_is_saved_as_json_with_every_class_sorted(at, served):
    at.page.select_option("#model", "folders")
    at.score(served.photographs[3])
    with at.page.expect_download() as download:
        at.page.click("#export")
    assert download.value.suggested_filename == f"melanoma_{served.photographs[3].stem}.json"
    saved = json.loads(download.value.path().read_text())
    answer = expected(served, served.photographs[3], "folders")
    shares = [row["probability"] for row in saved["classes"]]
    assert {row["name"]: row["probability"] for row in saved["classes"]} == answer["by_class"]
    assert shares == sorted(shares, reverse=True)
    assert saved["model"] == answer["model"]
    assert len(saved["model"]["digest"]) == 64
    assert saved["disclaimer"] == answer["disclaimer"]
    assert saved["calibrated"] is True
    assert saved["file"]["name"] == served.photographs[3].name
    assert saved["threshold"] is None


def test_a_token_is_asked_for_and_then_sent(open_page, served, guarded):
    at = open_page(address=guarded)
    at.page.get_by_label("access token").wait_for()  # asked for at once: /info is guarded too
    at.choose(served.photographs[1])
    at.predict()
    at.page.locator("#error").get_by_text("token").wait_for()
    at.page.get_by_label("access token").fill("wrong")
    at.page.keyboard.press("Enter")
    at.page.get_by_text("That token was refused.").wait_for()
    at.page.get_by_label("access token").fill("right")
    at.page.keyboard.press("Enter")
    at.page.locator("#access").wait_for(state="hidden")
    at.page.wait_for_function("() => document.getElementById('model').value === 'tiny'")
    at.predict()
    at.wait_for_result()
    at.page.click("#tab-performance")
    at.page.locator(".figures").wait_for()
    # Kept while the tab is open, and no longer.
    at.page.reload()
    at.page.locator(".figures").wait_for()
    assert at.page.is_hidden("#access")
    at.visit()
    at.page.get_by_label("access token").wait_for()


def test_another_cancer_is_told_of_in_red_with_the_next_step(at, served):
    answer = expected(served, served.photographs[3])
    shares = {"basal cell carcinoma": 0.76, "melanoma": 0.01, "melanocytic nevus": 0.23}
    made = {"code": "other_cancer_likely", "text": "-"}
    other = {"classes": ["basal cell carcinoma"], "value": 0.2, "at": "-"}
    changed = {"flagged": False, "verdict": made, "other_cancer": other, "by_class": shares}
    at.answer("**/predict*", {**answer, **changed})
    at.score(served.photographs[3])
    assert "basal cell carcinoma 76.0 %" in at.text("#verdict")
    assert "other" in at.page.get_attribute("#verdict", "class").split()
    assert at.text("#next") == "Have a doctor look at it soon."
    at.answer("**/predict*", {**answer, "flagged": False, "other_cancer": None, "verdict": None})
    at.score(served.photographs[3])
    assert "Of other skin cancers this model says nothing." in at.text("#next")
    assert "no all-clear" in at.text("#next")


def test_an_unscorable_picture_is_told_why_and_what_to_do_in_both_languages(at, served):
    answer = expected(served, served.photographs[3])
    bad = {"ok": False, "reasons": ["not_sharp", "lesion_off_center"], "advice": "-"}
    verdict = {"code": "unscorable", "text": "Not good enough. Again."}
    whole = {"of": 100, "melanomas": 3, "low": 1, "high": 6, "prevalence": 0.111, "text": "-"}
    possible = {"level": 0.9, "classes": ["melanoma", "benign"]}
    parts = {"novelty": None, "set": possible, "frequency": whole}
    at.answer("**/predict*", {**answer, **parts, "verdict": verdict, "quality": bad})
    at.score(served.photographs[3])
    assert "cannot judge this picture" in at.text("#verdict")
    assert "hold still" in at.text("#reasons")
    assert "move the square" in at.text("#reasons")
    assert "mean nothing" in at.text("#next")
    assert "Of 100 lesions with such a score about 3 are melanomas" in at.text("#frequency")
    assert "90 % of lesions: melanoma, benign" in at.text("#possible")
    at.page.select_option("#language", "fr")
    assert "déplacez le carré" in at.text("#reasons")
    at.page.select_option("#language", "en")
    bounds = [float(at.page.get_attribute("#prevalence", name)) / 100 for name in ("min", "max")]
    assert bounds == [LEAST_PREVALENCE, GREATEST_PREVALENCE]
    # Another prevalence is asked of the service, which moves numbers and words together.
    at.page.fill("#prevalence", "2")
    with at.page.expect_request("**/predict*") as asked:
        at.page.keyboard.press("Enter")
    assert b'name="prevalence"\r\n\r\n0.02\r\n' in asked.value.post_data_buffer
    # A reason that the page has no words for is the service's.
    at.answer("**/predict*", {**answer, "verdict": verdict, "quality": None})
    at.score(served.photographs[3])
    assert at.text("#reasons") == "Not good enough. Again."


def test_a_flag_above_a_benign_class_is_explained(at, served):
    answer = expected(served, served.photographs[3])
    flag = {"flagged": True, "verdict": {"code": "flagged", "text": "-"}}
    at.answer("**/predict*", {**answer, **flag, "prediction": "benign"})
    at.score(served.photographs[3])
    assert "Flagged although benign is the likeliest class" in at.text("#why")
    at.answer("**/predict*", {**answer, **flag, "prediction": "melanoma"})
    at.score(served.photographs[3])
    assert at.page.locator("#why").count() == 0


def test_a_token_that_no_browser_can_send_is_refused_where_it_was_typed(open_page, guarded):
    at = open_page(address=guarded)
    for pasted in ("right\u200b", "\u201cright\u201d"):
        at.page.get_by_label("access token").fill(pasted)
        at.page.keyboard.press("Enter")
        at.page.get_by_text("That token was refused.").wait_for()
    at.page.get_by_label("access token").fill(" right ")
    at.page.keyboard.press("Enter")
    at.page.locator("#access").wait_for(state="hidden")
    at.page.reload()
    at.page.locator("#model option").first.wait_for(state="attached")
    assert at.page.is_hidden("#access")
