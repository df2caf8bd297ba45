"""The page while an answer is under way, asked for twice, or no longer wanted."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.browser]

# A browser that asks its person: each camera is there once `allow` is called. `tracks` are theirs.
ASKS = """() => {
  [window.waiting, window.tracks] = [[], []];
  const canvas = document.createElement("canvas");
  setInterval(() => canvas.getContext("2d").fillRect(0, 0, 9 * Math.random(), 9), 40);
  const give = (then) => {
    const stream = canvas.captureStream(20);
    tracks.push(...stream.getTracks());
    then(stream);
  };
  navigator.mediaDevices.getUserMedia = () =>
    new Promise((then) => waiting.push(() => give(then)));
  window.allow = () => waiting.forEach((one) => one());
}"""
STATES = "() => tracks.map((track) => track.readyState)"


def hold(at: Any, pattern: str) -> list[Any]:
    """Requests that wait until a test lets them go on."""
    held: list[Any] = []
    at.page.route(pattern, lambda route: held.append(route))
    return held


def wait_for(at: Any, held: list[Any], count: int) -> None:
    for _ in range(500):
        if len(held) >= count:
            return
        at.page.wait_for_timeout(20)
    raise AssertionError(f"{len(held)} of {count} requests came")


def test_of_two_prevalences_in_a_row_the_latest_is_answered(at, served):
    at.score(served.photographs[3])
    held = hold(at, "**/predict*")
    for number, percent in enumerate(("2", "5"), start=1):
        at.page.fill("#prevalence", percent)
        at.page.press("#prevalence", "Enter")
        wait_for(at, held, number)
    for route in held:
        route.continue_()
    at.page.locator("#calibrated").get_by_text("where 5.0").wait_for()
    assert at.page.input_value("#prevalence") == "5"
    assert at.text("#error") == ""


def test_a_camera_that_was_asked_for_twice_is_off_once_it_is_closed(open_page):
    at = open_page()
    at.page.evaluate(ASKS)
    at.page.click("#camera")
    at.page.keyboard.press("Escape")
    at.page.click("#camera")
    at.page.evaluate("allow()")
    at.page.wait_for_selector("#capture:not([hidden])")
    assert at.page.evaluate(STATES) == ["ended", "live"]
    at.page.click("#leave")
    at.page.wait_for_function(f"() => ({STATES})().every((state) => state === 'ended')")


def test_charts_are_in_the_language_that_was_chosen_while_they_came(open_page, served):
    at = open_page()
    held = hold(at, "**/charts*")
    at.page.click("#tab-performance")
    wait_for(at, held, 1)
    at.page.select_option("#language", "fr")
    held[0].continue_()
    wait_for(at, held, 2)
    held[1].continue_()
    at.page.locator("#performance figcaption").get_by_text("Courbe").first.wait_for()


def test_an_explanation_is_in_the_language_that_was_chosen_while_it_was_made(open_page, served):
    at = open_page()
    at.page.locator("#model option").first.wait_for(state="attached")
    at.score(served.photographs[3])
    held = hold(at, "**/explain*")
    at.page.select_option("#wish-method", "gradcam")
    at.page.click("#ask")
    wait_for(at, held, 1)
    at.page.select_option("#language", "fr")
    held[0].continue_()
    at.page.locator("#explained canvas").first.wait_for()
    at.page.locator("#explain-title").get_by_text("Explication").wait_for()
    assert at.text("#ask") == "Expliquer"
    assert "Explanation" not in at.text("#explain")


def test_paper_says_when_it_was_printed(open_page, served):
    at = open_page()
    at.page.clock.install(time="2026-03-01T09:00:00")
    at.score(served.photographs[3])
    at.page.clock.set_fixed_time("2026-03-01T17:30:00")
    at.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert "March 1, 2026 at 5:30" in at.page.text_content(".paper")
