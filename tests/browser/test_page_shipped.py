"""The page over the model that comes with the clone, as `make serve` shows it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.shipped import WEIGHTS as SHIPPED


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    from tiny_service import start_service

    service = start_service(SHIPPED, tmp_path_factory.mktemp("shipped") / "shipped.log")
    yield service.address
    service.process.kill()
    service.process.wait()


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    """A photograph of 600 x 450: green sides that the model must not see."""
    pixels = np.full((450, 600, 3), (0, 160, 0), np.uint8)
    pixels[:, 75:525] = (205, 160, 145)
    pixels[150:300, 225:375] = (95, 60, 50)
    path = tmp_path / "wide.png"
    Image.fromarray(pixels).save(path)
    return path


def test_seven_classes_are_answered_and_the_scored_square_is_shown(open_page, shipped, wide):
    at = open_page(address=shipped)
    at.score(wide)
    at.page.locator("#seen canvas").wait_for()
    for place in ("#pictures", "#only"):
        assert "Dermatoscope pictures only" in at.text(place)
    assert "The center square, 128" in at.text("#seen")
    seen = at.pixels("#seen canvas")
    assert seen.shape == (128, 128, 3)
    assert not (seen[..., 1] > seen[..., 0]).any()  # nothing of the green sides
    assert "of lesions are melanomas" in at.text("#result")
    assert "5 folds" in at.text("#result")
    # What it reached elsewhere is another model's: it has trained on pictures of that archive.
    told = at.text("#result")
    assert "of the same training, but without siim2020_test and siim2020, flagged" in told
    # An answer that is drawn anew has its square at once: nothing jumps.
    at.page.evaluate(
        "() => { window.bare = 0; new MutationObserver(() => {"
        " bare += document.querySelector('#seen canvas') === null; })"
        ".observe(document.getElementById('result'), { childList: true }); }"
    )
    at.page.select_option("#language", "fr")
    french = at.text("#result")
    assert at.page.evaluate("window.bare") == 0
    assert "du même entraînement, mais sans siim2020_test et siim2020, a signalé" in french
    at.page.select_option("#language", "en")
    # False alarms beside what was found.
    results = json.loads((SHIPPED / "report.json").read_text())["external_results"]
    assert len(results) == 2
    for one in results:
        left = f"{100 * one['specificity']['value']:.0f} %"
        assert f"and left {left}" in told.replace("\xa0", " ")
    assert at.page.locator(".bars li").count() == 5


def test_what_its_members_held_out_of_other_tables_stands_beside_elsewhere(open_page, shipped):
    at = open_page(address=shipped)
    at.page.click("#tab-performance")
    at.page.get_by_role("heading", name="Held out of other tables").wait_for()
    told = at.text("#performance")
    sources = json.loads((SHIPPED / "report.json").read_text())["sources"]
    held = {line["name"]: line["held_out"] for line in sources if line["held_out"]}
    assert sorted(held) == ["isic2017_train", "siim2020"]
    for name, found in held.items():
        assert name in told
        assert "{value:.3f}".format(**found["auroc"]) in told


def test_the_license_of_the_weights_can_be_read(open_page, shipped):
    at = open_page(address=shipped)
    at.page.click("#tab-about")
    at.page.get_by_text("License of these weights").click()
    text = at.text("#about .license")
    assert "CC BY-NC 4.0" in text
    assert "Tschandl" in text
    assert "**" not in text and not text.startswith("#")
    assert "not a medical device. Not for the care of patients" in text
    for width in (375, 1440):
        at.page.set_viewport_size({"width": width, "height": 800})
        assert at.sideways == 0, width


def test_a_square_moved_while_its_photograph_is_scored_can_be_scored(open_page, shipped, wide):
    at, held = open_page(address=shipped), []
    at.choose(wide)
    at.page.locator("#cut").wait_for()
    at.page.route("**/predict*", lambda route: held.append(route))
    with at.page.expect_request("**/predict*"):
        at.predict()
    at.page.focus("#cut")
    at.page.keyboard.press("-")
    assert at.text("#predict") == "Predict"
    assert at.page.is_enabled("#predict")
    assert at.page.get_attribute("#predict", "aria-busy") is None
    assert at.page.is_hidden("#waiting")
    at.page.unroute("**/predict*")
    at.predict()
    at.wait_for_result()
    assert "square you chose" in at.text("#seen")
