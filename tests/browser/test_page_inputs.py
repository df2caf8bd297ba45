"""How a photograph reaches the page: chosen, dropped, pasted, taken, sampled, or many at once."""

from __future__ import annotations

import base64
import csv
import io
import json

import httpx
import numpy as np
from PIL import Image
from tiny_service import encode

# Chromium's own drag and drop begins in another program; from there on this is what it gives.
DROP = """async ([files, kinds]) => {
  const transfer = new DataTransfer();
  for (const [name, data] of files) {
    const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
    transfer.items.add(new File([bytes], name, { type: "image/jpeg" }));
  }
  const field = document.getElementById("drop");
  for (const kind of kinds) {
    const event = new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true });
    field.dispatchEvent(event);
    if (!event.defaultPrevented) throw new Error(`${kind} would open the file`);
  }
}"""
PASTE = """async ([name, data]) => {
  const transfer = new DataTransfer();
  if (data) {
    const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
    transfer.items.add(new File([bytes], name, { type: "image/jpeg" }));
  } else {
    transfer.setData("text/plain", name);
  }
  const event = new ClipboardEvent("paste",
    { clipboardData: transfer, bubbles: true, cancelable: true });
  document.body.dispatchEvent(event);
}"""


def encoded(file) -> str:
    return base64.b64encode(file.read_bytes()).decode()


def drop(at, files) -> None:
    at.page.evaluate(DROP, [[[f.name, encoded(f)] for f in files], ["dragenter", "dragover"]])
    assert "over" in at.page.get_attribute("#drop", "class")
    at.page.evaluate(DROP, [[[f.name, encoded(f)] for f in files], ["drop"]])
    assert "over" not in at.page.get_attribute("#drop", "class")


def probability(served, file) -> str:
    files = {"file": file.read_bytes()}
    answer = httpx.post(f"{served.address}/predict", files=files, timeout=60).json()
    return f"{answer['melanoma_probability'] * 100:.1f} %"


def test_a_dropped_photograph_is_taken(at, served):
    file = served.photographs[5]
    drop(at, [file])
    at.page.locator("#preview").wait_for()
    assert at.text("#invitation") == file.name
    at.predict()
    at.wait_for_result()
    assert at.text("#percentage") == probability(served, file)


def test_a_pasted_photograph_is_taken_and_pasted_words_change_nothing(at, served):
    file = served.photographs[6]
    at.page.evaluate(PASTE, [file.name, encoded(file)])
    at.page.locator("#preview").wait_for()
    assert at.text("#error") == ""
    assert at.text("#invitation") == file.name
    at.predict()
    at.wait_for_result()
    # Words are somebody's slip: the answer stays.
    at.page.evaluate(PASTE, ["only words", None])
    assert at.text("#error") == ""
    assert at.text("#percentage") == probability(served, file)


def test_a_picture_is_taken_looked_at_retaken_and_used(at, served, screenshot):
    at.context.grant_permissions(["camera"])
    at.page.click("#camera")
    at.page.locator("#capture").wait_for()
    assert at.page.locator("#use").is_hidden()
    at.page.wait_for_function("() => document.getElementById('video').videoWidth > 0")
    screenshot(at.page, "camera")
    at.page.click("#capture")
    assert at.page.is_visible("#shot")
    assert at.page.is_hidden("#video")
    at.page.click("#retake")
    assert at.page.is_visible("#video")
    at.page.click("#capture")
    assert np.ptp(at.pixels("#shot")) > 100, "the picture is empty"
    at.page.click("#use")
    at.page.locator("#booth").wait_for(state="hidden")
    assert at.page.evaluate("document.getElementById('video').srcObject") is None
    at.page.locator("#preview").wait_for()
    assert at.text("#invitation") == "camera.jpg"
    at.predict()
    at.wait_for_result()


def test_closing_the_camera_turns_it_off_and_chooses_nothing(at):
    at.context.grant_permissions(["camera"])
    at.page.click("#camera")
    at.page.locator("#capture").wait_for()
    track = at.page.evaluate_handle("document.getElementById('video').srcObject.getTracks()[0]")
    assert track.evaluate("(t) => t.readyState") == "live"
    at.page.keyboard.press("Escape")
    at.page.locator("#booth").wait_for(state="hidden")
    # A dialog's close event comes a moment after it is hidden.
    at.page.wait_for_function("(t) => t.readyState === 'ended'", arg=track)
    assert at.page.is_disabled("#predict")
    assert at.focus == "camera"


def test_a_denied_camera_is_said_and_a_file_still_works(at, served):
    at.page.click("#camera")
    at.page.locator("#booth-message").get_by_text("camera was denied").wait_for()
    assert at.page.is_hidden("#capture")
    at.page.click("#leave")
    at.score(served.photographs[1])


def test_no_camera_and_a_camera_in_use_are_told_apart(at):
    for error, words in {"NotFoundError": "No camera", "NotReadableError": "in use"}.items():
        at.page.evaluate(
            "(name) => { navigator.mediaDevices.getUserMedia = () => "
            "Promise.reject(new DOMException('', name)); }",
            error,
        )
        at.page.click("#camera")
        at.page.locator("#booth-message").get_by_text(words).wait_for()
        at.page.click("#leave")
    at.page.evaluate("delete navigator.mediaDevices.getUserMedia")


def test_the_eight_samples_say_what_they_are_and_are_scored(at, served):
    listed = httpx.get(f"{served.address}/static/samples/samples.json", timeout=20).json()
    buttons = at.page.locator("#samples li button")
    said = [text.strip() for text in buttons.all_inner_texts()]
    assert said == [f"Actual: {row['actual']}" for row in listed]
    assert len(said) == 8
    buttons.nth(3).click()
    at.page.locator("#invitation").get_by_text(listed[3]["file"]).wait_for()
    assert f"Actual: {listed[3]['actual']}" in at.text("#facts")
    at.predict()
    at.wait_for_result()
    assert at.text("#actual") == f"Actual: {listed[3]['actual']}"
    picture = httpx.get(f"{served.address}/static/samples/{listed[3]['file']}", timeout=20)
    answer = httpx.post(f"{served.address}/predict", files={"file": picture.content}, timeout=60)
    share = answer.json()["melanoma_probability"]
    assert at.text("#percentage") == f"{share * 100:.1f} %"


def test_several_pictures_in_one_go_become_a_table(at, served):
    files = served.photographs[:3]
    bad = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"no photograph"}
    good = [{"name": f.name, "mimeType": "image/jpeg", "buffer": f.read_bytes()} for f in files]
    at.choose([*good[:2], bad, good[2]])
    at.page.locator(".strip").wait_for()
    assert at.text("#invitation") == "4 photographs"
    at.predict()
    rows = at.page.locator("#batch tbody tr")
    rows.first.wait_for(timeout=60_000)
    assert rows.count() == 4
    assert at.text("#batch caption").startswith("3 of 4 photographs scored")
    said = [text.replace("\xa0", " ") for text in rows.all_inner_texts()]
    for file in files:
        (row,) = (text for text in said if file.name in text)
        assert probability(served, file) in row
    # What needs a doctor comes first, what was not scored before what was not flagged.
    ranks = [0 if "Flagged" in r else 2 if "Not flagged" in r else 1 for r in said]
    assert ranks == sorted(ranks)
    failed = rows.filter(has_text="notes.txt")
    assert "not a JPEG, PNG or WEBP image" in failed.inner_text()
    assert failed.get_by_role("button").count() == 0
    assert "not a medical device" in at.text("#batch")
    at.page.select_option("#order", "given")
    names = [text.split("\n")[0] for text in rows.locator("th").all_inner_texts()]
    assert names == [files[0].name, files[1].name, "notes.txt", files[2].name]
    with at.page.expect_download() as download:
        at.page.click("#csv")
    table = list(csv.DictReader(io.StringIO(download.value.path().read_text("utf-8-sig"))))
    assert [row["file"] for row in table] == names
    assert [row["error"] != "" for row in table] == [False, False, True, False]
    shares = [
        f"{float(row['melanoma_probability']) * 100:.1f} %" for row in table if not row["error"]
    ]
    assert shares == [probability(served, file) for file in files]
    # One row in full, then the table is still there.
    rows.nth(3).get_by_role("button").click()
    at.wait_for_result()
    assert at.text("#percentage") == probability(served, files[2])
    assert at.page.is_visible("#batch")
    # With the report's figures the answer is drawn anew; a keyboard stays on the way back.
    at.page.locator("#meaning").get_by_text("In cross-validation").wait_for()
    assert at.focus == "back"
    with at.page.expect_download() as download:
        at.page.locator("#batch").get_by_role("button", name="JSON").click()
    saved = json.loads(download.value.path().read_text())
    assert [row["file"]["name"] for row in saved["results"]] == [
        files[0].name,
        files[1].name,
        "notes.txt",
        files[2].name,
    ]
    assert saved["results"][2]["error"]["code"] == "not_sent"
    # It is scored: to score it once more would take the table away.
    assert at.page.is_disabled("#predict")
    at.page.click("#back")
    assert at.page.is_enabled("#predict")
    assert at.page.evaluate("() => document.activeElement.dataset.index") == "3"
    assert at.page.is_hidden("#result")
    assert at.text("#invitation") == "4 photographs"
    assert "not a medical device" in saved["disclaimer"].lower()


def test_another_model_scores_all_photographs_again_though_one_was_open(at, served):
    at.choose([str(file) for file in served.photographs[:3]])
    at.predict()
    at.page.locator("#batch tbody button[data-index='1']").click()
    at.wait_for_result()
    at.page.select_option("#model", index=1)
    assert at.page.is_hidden("#batch")
    assert at.text("#invitation") == "3 photographs"
    at.predict()
    at.page.wait_for_selector("#batch:not([hidden])")
    assert at.page.locator("#batch tbody tr").count() == 3


def test_too_many_pictures_are_refused_before_they_are_sent(at, served):
    data = served.photographs[0].read_bytes()
    at.choose([{"name": f"{i}.jpg", "mimeType": "image/jpeg", "buffer": data} for i in range(33)])
    at.page.locator("#error").get_by_text("up to 32").wait_for()
    assert not any("predict" in address for address in at.requests)
    at.choose([{"name": f"{i}.jpg", "mimeType": "image/jpeg", "buffer": data} for i in range(2)])
    at.predict()
    at.page.locator("#batch tbody tr").first.wait_for(timeout=60_000)


def test_png_and_webp_are_scored_too(at, served):
    for kind in ("png", "webp"):
        data = encode(Image.open(served.photographs[2]), kind.upper())
        at.score({"name": f"x.{kind}", "mimeType": f"image/{kind}", "buffer": data})
        assert f"image/{kind}" in at.text("#facts")


def test_what_is_transparent_is_white_in_a_file_that_the_browser_converts(at, served):
    image = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    image.paste((205, 160, 145, 255), (16, 16, 48, 48))
    data = io.BytesIO()
    image.save(data, "AVIF", quality=100)
    at.score({"name": "clear.avif", "mimeType": "image/avif", "buffer": data.getvalue()})
    at.page.locator("#seen canvas").wait_for()
    assert at.pixels("#seen canvas")[1, 1].min() > 250
