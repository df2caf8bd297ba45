"""The service in its own process, and a Chromium that reports whatever goes wrong in it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "api"))

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The service over a tiny trained bundle, and its first photographs."""
    from tiny_service import start_service, train_bundle

    base = tmp_path_factory.getbasetemp() / "tiny"
    folder = train_bundle(base)
    service = start_service(folder, base / "browser.log")
    service.photographs = sorted((base / "data" / "jpeg").rglob("*.jpg"))
    yield service
    service.process.kill()
    service.process.wait()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("chromium is not installed (apt-get install chromium)")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


class Page:
    """A page of the service, and what it logged and asked for meanwhile."""

    def __init__(self, browser: Any, served: Any, *, width: int, height: int, scheme: str) -> None:
        self.served = served
        self.page = browser.new_page(
            viewport={"width": width, "height": height}, color_scheme=scheme
        )
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(served.address)

    def choose(self, file: Any) -> None:
        self.page.set_input_files("#file", file)

    def predict(self) -> None:
        self.page.get_by_role("button", name="Predict").click()

    def text(self, selector: str) -> str:
        return str(self.page.inner_text(selector))

    def wait_for_result(self) -> None:
        self.page.wait_for_selector("#result:not([hidden])", timeout=60_000)

    @property
    def foreign(self) -> list[str]:
        """Addresses of other hosts that were asked for."""
        own = (self.served.address, "blob:", "data:")
        return [address for address in self.requests if not address.startswith(own)]

    @property
    def sideways(self) -> int:
        """Pixels that the page is wider than its window."""
        root = "document.documentElement"
        return int(self.page.evaluate(f"{root}.scrollWidth - {root}.clientWidth"))


@pytest.fixture
def open_page(browser: Any, served: Any) -> Iterator[Any]:
    """A function that opens the page; every page must end without a complaint."""
    opened: list[Page] = []

    def open_(*, width: int = 1024, height: int = 800, scheme: str = "light") -> Page:
        opened.append(Page(browser, served, width=width, height=height, scheme=scheme))
        return opened[-1]

    yield open_
    for page in opened:
        assert page.foreign == []
        page.page.close()


@pytest.fixture
def screenshots(tmp_path: Path) -> Path:
    folder = Path(os.environ.get("MELANOMA_SCREENSHOTS") or tmp_path / "screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
