"""The page for everyone: keyboard, screen reader, phone, dark, French, and no network."""

from __future__ import annotations

import json
import re

import httpx
import pytest
from made_content import binary, external
from PIL import Image
from tiny_service import encode

from api.error_answers import STATUS
from benchmarks.shipped import WEIGHTS as SHIPPED
from melanoma.evaluation.metrics.metric_catalog import METRICS
from melanoma.evaluation.report.external_results import external_result, with_external
from melanoma.evaluation.report.schema_parts import Flow
from melanoma.evaluation.report.warnings import PHANTOMS, find_caveats

AXE = pytest.importorskip("axe_playwright_python.base").AXE_SCRIPT
SERIOUS = """async (rules) => (await axe.run({
    resultTypes: ["violations"], selectors: false, ...(rules && { runOnly: rules }) })).violations
  .filter(({ impact }) => ["serious", "critical"].includes(impact))
  .map(({ id, nodes }) => `${id}: ${nodes.map((n) => n.html.slice(0, 160)).join(" | ")}`)"""


def serious(at, *rules: str) -> list[str]:
    """What axe holds against the page as it is now, by these rules or by all."""
    if not at.page.evaluate("typeof axe === 'object'"):
        at.page.evaluate(AXE)
    return at.page.evaluate(SERIOUS, list(rules) or None)


def explain(at) -> None:
    at.page.click("#ask")
    at.page.locator(".panels").wait_for(timeout=60_000)


def many(served, count: int = 3) -> list[dict]:
    photographs = served.photographs[:count]
    good = [
        {"name": f.name, "mimeType": "image/jpeg", "buffer": f.read_bytes()} for f in photographs
    ]
    return [*good, {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"none"}]


def test_axe_finds_nothing_serious_in_any_state(at, served):
    at.context.grant_permissions(["camera"])
    found = {}

    def look(state: str) -> None:
        # In the dark the colors are others, and nothing else is.
        at.page.emulate_media(color_scheme="dark")
        found[f"{state}, dark"] = serious(at, "color-contrast")
        at.page.emulate_media(color_scheme="light")
        found[state] = serious(at)

    look("empty")
    at.score(served.photographs[3])
    explain(at)
    look("explained")
    at.page.click("#camera")
    at.page.locator("#capture").wait_for()
    look("camera")
    at.page.click("#leave")
    at.choose(many(served))
    at.predict()
    at.page.locator("#batch tbody tr").first.wait_for(timeout=60_000)
    look("several")
    at.choose(many(served)[-1])
    at.page.locator("#error").get_by_text("save it as JPEG").wait_for()
    look("error")
    at.page.click("#tab-performance")
    at.page.locator(".figures").wait_for()
    look("performance")
    at.page.click("#tab-about")
    look("about")
    assert len(found) == 14
    assert {state: faults for state, faults in found.items() if faults} == {}


def test_axe_would_find_a_fault(open_page):
    at = open_page()
    at.page.evaluate("document.getElementById('model').labels[0].remove()")
    at.page.evaluate("document.getElementById('served').hidden = false")
    assert any(fault.startswith("select-name") for fault in serious(at))


def test_nothing_scrolls_sideways_at_any_width(at, served, screenshot):

    def look(name: str) -> None:
        for width in (375, 768, 1440):
            at.page.set_viewport_size({"width": width, "height": 900})
            assert at.sideways == 0, (name, width)
            for scheme in ("dark", "light"):
                at.page.emulate_media(color_scheme=scheme)
                screenshot(at.page, f"{width}-{scheme}-{name}")

    look("empty")
    name = "a-very-long-file-name-" * 8 + ".jpg"
    data = served.photographs[2].read_bytes()
    at.score({"name": name, "mimeType": "image/jpeg", "buffer": data})
    explain(at)
    look("explained")
    at.choose(many(served))
    at.predict()
    at.page.locator("#batch tbody tr").first.wait_for(timeout=60_000)
    look("several")
    at.choose({"name": "x.jpg", "mimeType": "image/jpeg", "buffer": b"no photograph"})
    at.page.locator("#error").get_by_text("save it as JPEG").wait_for()
    look("error")
    at.page.click("#tab-performance")
    at.page.locator(".figures").wait_for()
    look("performance")
    at.page.click("#tab-about")
    look("about")


def test_the_keyboard_alone_is_enough(open_page, served):
    at = open_page()
    press = at.page.keyboard.press
    # Chromium must know before the key is pressed that the chooser is ours to answer.
    at.page.on("filechooser", lambda chooser: None)
    passed = []
    while at.focus != "file":
        press("Tab")
        passed.append(at.focus)
        assert len(passed) < 8, passed
    assert passed[1:] == ["language", "theme", "tab-analyze", "model", "file"]
    with at.page.expect_file_chooser() as chooser:
        press("Enter")
    chooser.value.set_files(served.photographs[0])
    at.page.locator("#preview").wait_for()
    while at.focus != "predict":
        press("Tab")
        passed.append(at.focus)
        assert len(passed) < 12, passed
    press("Enter")
    at.wait_for_result()
    assert at.focus == "predict", "the focus was lost"
    # Through the answer and the samples to the explanation.
    for _ in range(20):
        press("Tab")
        if at.focus == "ask":
            break
    assert at.focus == "ask"
    press("Enter")
    at.page.locator(".panels").wait_for(timeout=60_000)
    at.page.locator("#ask").focus()
    at.page.locator("#clear").focus()
    press("Space")
    assert at.page.is_hidden("#result")
    assert at.focus == "file"


def test_arrows_move_between_the_tabs_and_an_address_opens_one(at):
    at.page.locator("#tab-analyze").focus()
    at.page.keyboard.press("ArrowRight")
    assert at.focus == "tab-performance"
    assert at.page.is_visible("#performance")
    assert at.page.is_hidden("#analyze")
    at.page.keyboard.press("ArrowLeft")
    at.page.keyboard.press("ArrowLeft")
    assert at.focus == "tab-about"
    assert at.page.locator("[role=tab][aria-selected=true]").count() == 1
    assert at.page.locator("[role=tab][tabindex='-1']").count() == 2
    at.page.go_back()
    at.page.wait_for_function("() => !document.getElementById('analyze').hidden")
    at.page.go_back()
    at.page.wait_for_function("() => !document.getElementById('performance').hidden")
    at.visit("#about")
    assert at.page.is_visible("#about")


def test_an_answer_an_error_and_a_wait_are_announced(at, served):
    assert at.page.get_attribute("#status", "role") == "status"
    assert at.page.get_attribute("#error", "role") == "alert"
    at.score(served.photographs[0])
    spoken = at.text("#status")
    assert re.match(r"(Not f|F)lagged.*Melanoma probability [<>]?\s?[\d.]+ %\.$", spoken)
    explain(at)
    assert at.text("#status") == "The explanation is shown."


def test_every_control_has_a_name_and_the_disclaimer_is_always_in_view(at, served):
    at.page.set_viewport_size({"width": 375, "height": 640})
    at.score(served.photographs[0])
    for control in at.page.locator("button:visible, select:visible, input:visible").all():
        named = control.evaluate("(e) => e.ariaLabel || e.labels?.[0]?.textContent || e.innerText")
        assert named.strip(), control.evaluate("(e) => e.outerHTML")
    # On a phone too, the whole verdict and the likeliest class stand above the last line.
    line = at.page.locator("footer").bounding_box()["y"]
    for part in ("#verdict", "#next", "#percentage", "#likeliest"):
        box = at.page.locator(part).bounding_box()
        assert box["y"] >= 0 and box["y"] + box["height"] <= line, part
    order = "(e) => e.getBoundingClientRect().top"
    assert at.page.eval_on_selector("#answer", order) < at.page.eval_on_selector("#samples", order)
    for end in ("0", "document.body.scrollHeight"):
        at.page.evaluate(f"window.scrollTo(0, {end})")
        box = at.page.locator("footer b").bounding_box()
        assert 0 <= box["y"] <= 640 - box["height"]


def background(at) -> int:
    color = at.page.evaluate("getComputedStyle(document.body).backgroundColor")
    return sum(int(part) for part in re.findall(r"\d+", color)[:3])


def test_the_theme_follows_the_system_until_it_is_chosen_and_is_remembered(at):
    at.page.emulate_media(color_scheme="dark")
    assert background(at) < 150
    at.page.emulate_media(color_scheme="light")
    assert background(at) > 600
    at.page.get_by_label("Theme").select_option("dark")
    assert background(at) < 150
    at.visit()
    at.page.emulate_media(color_scheme="light")
    assert background(at) < 150, "the choice was forgotten"
    assert at.page.get_by_label("Theme").input_value() == "dark"
    at.page.get_by_label("Theme").select_option("system")
    assert background(at) > 600
    at.page.emulate_media(color_scheme="dark")
    at.page.get_by_label("Theme").select_option("light")
    assert background(at) > 600


def test_french_is_chosen_applied_to_what_is_shown_and_remembered(at, served):
    at.score(served.photographs[3])
    english = at.text("#percentage")
    at.page.get_by_label("Language").select_option("fr")
    assert at.page.evaluate("document.documentElement.lang") == "fr"
    assert at.text("#percentage") == english.replace(".", ",")
    assert at.text("#of") == "probabilité de mélanome"
    assert "pas un dispositif médical" in at.text("#calibrated")
    assert at.text("#verdict").startswith(("Signalée", "Non signalée"))
    assert at.text("#predict") == "Prédire"
    at.choose({"name": "x.jpg", "mimeType": "image/jpeg", "buffer": b"no photograph"})
    at.page.locator("#error").get_by_text("Ce n'est pas une image JPEG").wait_for()
    error = {"code": "brand_new", "message": "said in English", "request_id": "1"}
    at.answer("**/predict*", {"success": False, "error": error}, status=422)
    at.choose(served.photographs[3])
    at.predict()
    at.page.locator("#error").get_by_text("Said in English.").wait_for()
    at.page.click("#tab-performance")
    at.page.get_by_role("heading", name="Points de fonctionnement").wait_for()
    assert "sensibilité" in at.text("#performance")
    at.page.click("#tab-about")
    assert "Modèles servis ici" in at.text("#about")
    at.visit()
    assert at.text("#tab-analyze") == "Analyse"
    assert at.text("#empty").startswith("Choisissez")
    at.page.set_viewport_size({"width": 375, "height": 667})
    cut = "(e) => e.scrollWidth > e.clientWidth || e.scrollHeight > e.clientHeight + 1"
    assert not at.page.eval_on_selector("#invitation", cut)


def test_a_french_browser_gets_french_and_both_languages_have_every_word(open_page):
    at = open_page(locale="fr-FR")
    assert at.text("#tab-about") == "À propos"
    en, fr = at.page.evaluate(
        "async () => [(await import('/static/en.js')).en, (await import('/static/fr.js')).fr]"
    )
    own = {key for key in fr if key.startswith(("error.", "class.", "group.", "caveat."))}
    own |= {key for key in fr if key.startswith("tip.")} - set(en)  # English has the catalog's
    assert set(fr) - own == set(en) - {"error.status"}
    for key, words in en.items():
        places = set(re.findall(r"\{\w+\}", words))
        assert set(re.findall(r"\{\w+\}", fr[key])) == places, key
    # Every refusal that a person can meet, and every metric that has a card.
    cards = {f"tip.{name}" for name, spec in METRICS.items() if spec.card and spec.card.page}
    assert cards <= set(fr)
    told = {key.removeprefix("error.") for key in fr if key.startswith("error.")}
    # Those that only a program can bring about, or that name a value in the service's own words.
    programs = {"bad_base64", "bad_json", "bad_multipart", "client_gone", "invalid_field"}
    programs |= {"method_not_allowed", "not_found", "trained_on_drawings", "unknown_field"}
    assert told - {"status"} == set(STATUS) - programs
    # Every warning of the shipped report, and other forms of them.
    warnings = json.loads((SHIPPED / "report.json").read_text())["warnings"]
    warnings += ["only 7 positives: the intervals are wide", PHANTOMS]
    crowded = {"positives": 150, "prevalence": 0.5}
    elsewhere = external().content
    data = elsewhere.data.model_copy(update=crowded)
    warnings += find_caveats(elsewhere.model_copy(update={"data": data}))[-1:]
    known = {"flow": Flow(trained_on=3)}
    warnings += [
        one for one in find_caveats(elsewhere.model_copy(update=known)) if "left out" in one
    ]
    copy = binary().content  # for a place where others are melanomas
    assert copy.retargeted is not None
    data = copy.data.model_copy(update=crowded)
    warnings += [
        one
        for one in find_caveats(copy.model_copy(update={"data": data}))
        if "answers to one of" in one
    ]
    told = with_external(binary().content, external_result(elsewhere)).warnings
    warnings += [one for one in told if "is no test" in one]
    warnings += [one.replace("too low", "too high") for one in warnings if "too low" in one]
    said = at.page.evaluate(
        "async (all) => { const { caveat } = await import('/static/caveats.js');"
        " return all.map((one) => [caveat(one).lang, caveat(one).textContent]); }",
        warnings,
    )
    assert len(said) > 4 and not any(language for language, _ in said), said
    (histology,) = [text for _, text in said if "histologie" in text]
    assert " to " not in histology


def test_with_the_network_blocked_everything_works_and_nothing_leaves(at, served):
    blocked = []

    def only_own(route):
        if route.request.url.startswith(f"{served.address}/"):
            route.continue_()
        else:
            blocked.append(route.request.url)
            route.abort()

    at.context.route("**/*", only_own)
    at.visit()
    at.score(served.photographs[0])
    explain(at)
    at.page.click("#tab-performance")
    at.page.locator(".figures").wait_for()
    at.page.click("#tab-about")
    assert blocked == []
    assert len(at.requests) > 10


def test_nothing_of_the_page_is_inline_and_the_policy_is_strict(at, served):
    reply = httpx.get(served.address, timeout=20)
    policy = reply.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<style|style=|\son\w+=|<script(?![^>]*src=)", reply.text)
    # The policy is in force: a breach is complained of.
    at.page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {text: '1'}))"
    )
    at.page.wait_for_timeout(100)
    assert any("Content Security Policy" in text for text in at.complaints)
    at.complaints.clear()


def test_an_answer_before_the_models_are_known_is_completed_when_they_are(open_page, served):
    at, held = open_page(), []
    at.page.route("**/info*", lambda route: held.append(route))
    at.page.reload()
    at.score(served.photographs[0])
    assert at.page.locator("#seen").count() == 0
    held[0].continue_()
    at.page.locator("#seen canvas").wait_for()


def test_a_hidden_storage_does_not_stop_the_page(open_page, served):
    at = open_page()
    at.page.add_init_script(
        "for (const name of ['localStorage', 'sessionStorage']) Object.defineProperty(window, "
        "name, { get() { throw new DOMException('', 'SecurityError'); } });"
    )
    at.page.reload()
    at.page.get_by_label("Theme").select_option("dark")
    white = encode(Image.new("RGB", (32, 32), "white"))
    at.score({"name": "w.png", "mimeType": "image/png", "buffer": white})
