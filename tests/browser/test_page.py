"""The page, as a person uses it: by pointer, by keyboard, on a phone, in the dark."""

from __future__ import annotations

import base64
import re

import httpx
import pytest
from PIL import Image
from tiny_service import encode

DROP = """async ([name, data]) => {
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name, { type: "image/jpeg" }));
  const field = document.getElementById("drop");
  for (const kind of ["dragenter", "dragover", "drop"]) {
    const event = new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true });
    field.dispatchEvent(event);
    if (!event.defaultPrevented) throw new Error(`${kind} would open the file`);
  }
}"""


def expected(served, photograph) -> dict:
    files = {"file": photograph.read_bytes()}
    return httpx.post(f"{served.address}/predict", files=files, timeout=60).json()


def spoken(share: float) -> str:
    return f"{share * 100:.1f} %"


def test_a_chosen_photograph_gets_the_services_answer(open_page, served):
    at = open_page()
    answer = expected(served, served.photographs[3])
    assert at.page.is_disabled("#predict")
    assert at.page.is_hidden("#result")
    at.choose(served.photographs[3])
    assert at.page.is_visible("#preview")
    assert at.page.evaluate("document.getElementById('preview').naturalWidth") > 0
    assert at.page.is_hidden("#result"), "something was shown before it was asked for"
    at.predict()
    at.wait_for_result()
    assert at.text("#percentage") == spoken(answer["melanoma_probability"])
    side = "Above" if answer["flagged"] else "Below"
    assert at.text("#verdict") == f"{side} the threshold at sensitivity 0.95"
    assert spoken(answer["threshold"]["value"]) in at.text("#threshold")
    low, high = min(answer["by_fold"]), max(answer["by_fold"])
    assert at.text("#spread") == f"2 folds: {spoken(low)} to {spoken(high)}"
    assert at.page.locator("#folds i").count() == 2
    assert at.text("#name") == "tiny, version 1"
    assert at.text("#digest") == answer["model"]["digest"][:12]
    assert at.text("#calibrated").startswith("yes")
    assert "Melanoma probability" in at.text("#status")
    assert at.complaints == []


def test_the_bar_is_as_long_as_the_probability_and_marks_the_threshold(open_page, served):
    at = open_page()
    answer = expected(served, served.photographs[3])
    at.choose(served.photographs[3])
    at.predict()
    at.wait_for_result()
    bar, fill, mark = (at.page.locator(s).bounding_box() for s in ("#bar", "#fill", "#threshold"))
    share = max(answer["melanoma_probability"], 12.8 / bar["width"])
    assert fill["width"] / bar["width"] == pytest.approx(share, abs=0.01)
    middle = (mark["x"] + mark["width"] / 2 - bar["x"]) / bar["width"]
    assert middle == pytest.approx(answer["threshold"]["value"], abs=0.01)


def test_a_dropped_photograph_is_taken(open_page, served):
    at = open_page()
    file = served.photographs[5]
    at.page.evaluate(DROP, [file.name, base64.b64encode(file.read_bytes()).decode()])
    assert at.text("#invitation") == file.name
    at.predict()
    at.wait_for_result()
    assert at.text("#percentage") == spoken(expected(served, file)["melanoma_probability"])
    assert at.complaints == []


def test_the_keyboard_alone_is_enough(open_page, served):
    at = open_page()
    # Chromium must know before the key is pressed that the chooser is ours to answer.
    at.page.on("filechooser", lambda chooser: None)
    at.page.keyboard.press("Tab")
    assert at.page.evaluate("document.activeElement.id") == "file"
    with at.page.expect_file_chooser() as chooser:
        at.page.keyboard.press("Enter")
    chooser.value.set_files(served.photographs[0])
    at.page.keyboard.press("Tab")
    assert at.page.evaluate("document.activeElement.id") == "predict"
    at.page.keyboard.press("Enter")
    at.wait_for_result()
    assert at.page.evaluate("document.activeElement.id") == "predict", "the focus was lost"
    at.page.keyboard.press("Tab")
    at.page.keyboard.press("Space")
    assert at.page.is_hidden("#result")
    assert at.page.is_disabled("#predict")


def test_after_an_error_the_next_photograph_works(open_page, served):
    at = open_page()
    at.choose({"name": "notes.jpg", "mimeType": "image/jpeg", "buffer": b"no photograph"})
    at.predict()
    alert = at.page.get_by_role("alert")
    alert.get_by_text("convert to JPEG/PNG").wait_for()
    assert alert.inner_text()[0].isupper()
    assert at.page.is_hidden("#result")
    assert at.page.is_enabled("#predict")
    at.choose(served.photographs[1])
    assert at.text("#error") == ""
    at.predict()
    at.wait_for_result()
    # The browser itself logs the refusal of the first.
    assert [text for text in at.complaints if "415" not in text] == []


def test_a_service_that_is_gone_is_said_and_can_be_tried_again(open_page, served):
    at = open_page()
    at.choose(served.photographs[1])
    at.page.route("**/predict*", lambda route: route.abort())
    at.predict()
    at.page.get_by_role("alert").get_by_text("did not answer").wait_for()
    at.page.unroute("**/predict*")
    at.predict()
    at.wait_for_result()
    assert at.text("#error") == ""


def test_the_button_says_that_it_waits_and_a_cleared_answer_never_appears(open_page, served):
    at = open_page()
    held = []
    at.page.route("**/predict*", lambda route: held.append(route))
    at.choose(served.photographs[1])
    at.predict()
    at.page.wait_for_function("document.getElementById('predict').ariaBusy === 'true'")
    assert at.page.is_disabled("#predict")
    assert "Scoring" in at.text("#predict")
    at.page.get_by_role("button", name="Clear").click()
    assert at.text("#predict") == "Predict"
    at.page.wait_for_timeout(200)
    assert at.page.is_hidden("#result")
    assert at.text("#error") == ""
    at.page.unroute("**/predict*")
    at.choose(served.photographs[1])
    at.predict()
    at.wait_for_result()


def test_warnings_are_told_in_words(open_page, served):
    at = open_page()
    white = encode(Image.new("RGB", (32, 32), "white"))
    at.choose({"name": "w.png", "mimeType": "image/png", "buffer": white})
    at.predict()
    at.wait_for_result()
    assert "little to see" in at.text("#warnings")


def test_a_hostile_file_name_stays_text(open_page, served):
    at = open_page()
    name = "<img src=x onerror=alert(1)>.jpg"
    data = served.photographs[0].read_bytes()
    at.choose({"name": name, "mimeType": "image/jpeg", "buffer": data})
    assert at.text("#invitation") == name
    assert at.page.locator("#invitation img").count() == 0


def test_every_control_has_a_name_and_the_disclaimer_is_always_in_view(open_page, served):
    at = open_page(width=375, height=640)
    for selector in ("#file", "#predict", "#clear", "#preview"):
        snapshot = at.page.locator(selector).evaluate(
            "e => e.labels?.[0]?.textContent || e.textContent || e.alt"
        )
        assert snapshot.strip(), selector
    at.choose(served.photographs[0])
    at.predict()
    at.wait_for_result()
    for end in ("0", "document.body.scrollHeight"):
        at.page.evaluate(f"window.scrollTo(0, {end})")
        box = at.page.get_by_text("not a medical device").bounding_box()
        assert 0 <= box["y"] <= 640 - box["height"]


def _luminance(color: str) -> float:
    red, green, blue = (int(part) / 255 for part in re.findall(r"\d+", color)[:3])
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (red, green, blue)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(at, selector: str, behind: str) -> float:
    style = "([s, p]) => getComputedStyle(document.querySelector(s))[p]"
    ink = _luminance(at.page.evaluate(style, [selector, "color"]))
    paper = _luminance(at.page.evaluate(style, [behind, "backgroundColor"]))
    return (max(ink, paper) + 0.05) / (min(ink, paper) + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 768, 1440])
def test_it_fits_and_is_legible_at_every_width(open_page, served, screenshots, width, scheme):
    at = open_page(width=width, height=900, scheme=scheme)
    at.page.screenshot(path=screenshots / f"{width}-{scheme}-empty.png")
    assert at.sideways == 0
    name = "a-very-long-file-name-" * 8 + ".jpg"
    data = served.photographs[2].read_bytes()
    at.choose({"name": name, "mimeType": "image/jpeg", "buffer": data})
    at.predict()
    at.wait_for_result()
    assert at.sideways == 0
    at.page.screenshot(path=screenshots / f"{width}-{scheme}.png")
    dark = _luminance(at.page.evaluate("getComputedStyle(document.body).backgroundColor")) < 0.1
    assert dark == (scheme == "dark")
    pairs = {"#percentage": ".card", ".quiet": ".card", "#predict": "#predict", "footer": "footer"}
    for ink, paper in pairs.items():
        assert _contrast(at, ink, paper) >= 4.5, ink
    at.choose({"name": "x.jpg", "mimeType": "image/jpeg", "buffer": b"no photograph"})
    at.predict()
    at.page.get_by_role("alert").get_by_text("convert").wait_for()
    assert _contrast(at, "#error", ".card") >= 4.5
    assert at.sideways == 0
    at.page.screenshot(path=screenshots / f"{width}-{scheme}-error.png")
