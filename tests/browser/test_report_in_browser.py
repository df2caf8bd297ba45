"""The report's page in a browser: on a phone, in the dark, on paper."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from made_content import SEVEN, TWENTY_TWO, binary, external, many

from melanoma.evaluation.render.html import render_html

MADE = {
    "leaky": lambda: binary(leaky=True),
    "seven": lambda: many(SEVEN, ("melanoma",)),
    "twenty_two": lambda: many(TWENTY_TWO),
    "external": external,
}
LUMINANCE = """(pair) => {
  const [fore, back] = pair.map((color) => {
    const channels = color.match(/[\\d.]+/g).slice(0, 3).map((v) => v / 255)
      .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * channels[0] + 0.7152 * channels[1] + 0.0722 * channels[2];
  });
  return (Math.max(fore, back) + 0.05) / (Math.min(fore, back) + 0.05);
}"""

# Pairs of texts in one figure whose boxes share more than their edges.
OVERLAPS = """() => [...document.querySelectorAll('figure svg')].flatMap((svg) => {
  const texts = [...svg.querySelectorAll('text')];
  const apart = (p, q) => Math.min(p.right, q.right) - Math.max(p.left, q.left) <= 2
    || Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top) <= 4;
  return texts.flatMap((a, i) => texts.slice(i + 1)
    .filter((b) => !apart(a.getBoundingClientRect(), b.getBoundingClientRect()))
    .map((b) => `${svg.querySelector('title').textContent}: ${a.textContent}/${b.textContent}`));
})"""


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The made reports' pages as files."""
    folder = tmp_path_factory.mktemp("reports")
    for name, make in MADE.items():
        (folder / f"{name}.html").write_text(render_html(make().content), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def context(browser: Any, reports: Path) -> Iterator[Any]:
    """The module's own; a page stays open in it, so that its renderer does."""
    context = browser.new_context()
    context.new_page().goto((reports / "leaky.html").as_uri())
    yield context
    context.close()


@pytest.fixture
def open_report(context: Any, reports: Path) -> Iterator[Callable[..., Any]]:
    """A function that opens a made report's page from its file."""

    def open_(name: str, *, scheme: str = "light") -> Any:
        file = reports / f"{name}.html"
        page = context.new_page()
        page.emulate_media(color_scheme=scheme)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(file.as_uri())
        assert asked == [file.as_uri()], "the page asked for something"
        return page

    yield open_
    for page in context.pages[1:]:
        page.close()


def sideways(page: Any) -> int:
    """Pixels that the page is wider than its window, all that was folded open."""
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    root = "document.documentElement"
    return int(page.evaluate(f"{root}.scrollWidth - {root}.clientWidth"))


@pytest.mark.parametrize("name", MADE)
def test_on_a_phone_text_in_figures_is_legible_and_apart_and_nowhere_does_the_page_scroll_sideways(
    open_report: Any, screenshot: Any, name: str
) -> None:
    page = open_report(name)
    for width in (375, 768):
        page.set_viewport_size({"width": width, "height": 800})
        screenshot(page, f"report_{name}_{width}_light")
    page.set_viewport_size({"width": 375, "height": 800})
    scale = "(svg) => svg.getBoundingClientRect().width / svg.viewBox.baseVal.width"
    shares = page.eval_on_selector_all("figure svg", f"all => all.map({scale})")
    assert shares
    # Text is 12 units high.
    assert min(shares) * 12 >= 11
    assert name not in ("leaky", "seven") or page.evaluate(OVERLAPS) == []
    assert sideways(page) == 0
    page.set_viewport_size({"width": 768, "height": 800})
    assert sideways(page) == 0


def test_the_dark_scheme_darkens_the_page_and_stays_legible(
    open_report: Any, screenshot: Any
) -> None:
    colors, page = {}, open_report("leaky")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        screenshot(page, f"report_leaky_1280_{scheme}")
        back, ink = page.evaluate(
            "() => [getComputedStyle(document.body).backgroundColor, "
            "getComputedStyle(document.body).color]"
        )
        colors[scheme] = back
        assert page.evaluate(LUMINANCE, [ink, back]) >= 7
        for selector in (".soft", ".note", "nav a", "summary"):
            color = page.eval_on_selector(selector, "(e) => getComputedStyle(e).color")
            assert page.evaluate(LUMINANCE, [color, back]) >= 4.5, (scheme, selector)
        alert = page.eval_on_selector(
            ".alert", "(e) => [getComputedStyle(e).color, getComputedStyle(e).backgroundColor]"
        )
        assert page.evaluate(LUMINANCE, alert) >= 4.5, scheme
    assert colors["light"] == "rgb(255, 255, 255)"
    assert colors["dark"] != colors["light"]


def test_on_paper_the_page_is_light_and_what_was_folded_is_shown(open_report: Any) -> None:
    page = open_report("leaky", scheme="dark")
    folded = page.locator("#glossary ~ details dl")
    assert not folded.is_visible()
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator("nav").is_hidden()
    assert folded.bounding_box()["height"] > 100
