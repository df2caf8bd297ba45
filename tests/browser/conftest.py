"""The service in its own process, and a Chromium that reports whatever goes wrong in it."""

from __future__ import annotations

import base64
import io
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-gpu",
    # The network is blocked: no name resolves, and the page must not mind.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    # A camera that shows a moving disk; whether a page may use it, its context says.
    "--use-fake-device-for-media-stream",
]
# What Chromium itself logs of an answer that is no success.
REFUSAL = "Failed to load resource"


@pytest.fixture(scope="session")
def served(
    tmp_path_factory: pytest.TempPathFactory, bundle_folder: Path, folder_run: Any
) -> Iterator[Any]:
    """The service over two tiny bundles, the second one without a melanoma class."""
    from tiny_service import start_service

    both = ("-m", "melanoma.serve", "--weights", str(bundle_folder))
    log = tmp_path_factory.mktemp("browser") / "log"
    service: Any = start_service(folder_run.weights, log, python=both)
    service.photographs = sorted((bundle_folder.parent / "data" / "jpeg").rglob("*.jpg"))
    service.report = bundle_folder / "report.json"
    yield service
    service.process.kill()
    service.process.wait()


@pytest.fixture
def guarded(served: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a service that demands the token "right"."""
    from tiny_service import start_service

    monkeypatch.setenv("MELANOMA_TOKEN", "right")
    service = start_service(served.report.parent, tmp_path / "guarded.log")
    yield service.address
    service.process.kill()
    service.process.wait()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, a module long: Playwright's event loop runs meanwhile, and a test of another folder
    in the same process could start none of its own."""
    sync_api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("chromium is not installed (apt-get install chromium)")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def person(browser: Any, served: Any) -> Iterator[Any]:
    """The browser's context that a module's tests share, each of which finds nothing remembered.

    A page that stays open keeps its renderer: to start one anew is half of what a page costs.
    """
    context = browser.new_context(locale="en-US")
    context.new_page().goto(f"{served.address}/static/favicon.svg")
    yield context
    context.close()


class Page:
    """A page of the service, and what it logged and asked for meanwhile."""

    def __init__(
        self, context: Any, address: str, *, size: tuple[int, int], scheme: str = "light"
    ) -> None:
        self.context, self.address = context, address
        self.size, self.scheme = size, scheme
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page = self.visit()

    def visit(self, part: str = "") -> Any:
        """A page of the same person: what the browser remembers is kept."""
        self.page = self.context.new_page()
        self.page.set_viewport_size(dict(zip(("width", "height"), self.size, strict=True)))
        self.page.emulate_media(color_scheme=self.scheme)
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(f"{self.address}/{part}")
        self.page.locator("#samples li").first.wait_for(state="attached")
        return self.page

    def choose(self, file: Any) -> None:
        self.page.set_input_files("#file", file)
        # The page reads a file's beginning first; Clear is there once it took or refused it.
        self.page.wait_for_function("() => !document.getElementById('clear').disabled")

    def predict(self) -> None:
        self.page.click("#predict")

    def text(self, selector: str) -> str:
        """The element's words, with plain spaces where the page keeps them unbroken."""
        return str(self.page.inner_text(selector)).replace("\xa0", " ").replace("\u202f", " ")

    def wait_for_result(self) -> None:
        self.page.wait_for_selector("#result:not([hidden])", timeout=60_000)

    def score(self, file: Any) -> None:
        self.choose(file)
        self.predict()
        self.wait_for_result()

    def answer(self, pattern: str, body: Any, *, status: int = 200) -> None:
        """Let the page have this answer instead of the service's."""
        self.context.unroute(pattern)
        self.context.route(pattern, lambda route: route.fulfill(json=body, status=status))

    def pixels(self, canvas: str, number: int = 0) -> Any:
        """What a canvas shows, (H, W, 3) int16 RGB."""
        url = self.page.locator(canvas).nth(number).evaluate("(e) => e.toDataURL('image/png')")
        picture = Image.open(io.BytesIO(base64.b64decode(url.split(",")[1])))
        return np.asarray(picture.convert("RGB"), np.int16)

    @property
    def focus(self) -> str:
        return str(self.page.evaluate("document.activeElement.id"))

    @property
    def foreign(self) -> list[str]:
        """Addresses of other hosts that were asked for."""
        own = (f"{self.address}/", "blob:", "data:")
        return [address for address in self.requests if not address.startswith(own)]

    @property
    def sideways(self) -> int:
        """Pixels that the page is wider than its window."""
        root = "document.documentElement"
        return int(self.page.evaluate(f"{root}.scrollWidth - {root}.clientWidth"))


@pytest.fixture
def open_page(browser: Any, person: Any, served: Any) -> Iterator[Any]:
    """A function that opens the page; every page must end without a complaint.

    A breach of the content security policy, an exception, or a request to another host is one.
    `fresh`, an address or an option gives the page a context of its own.
    """
    opened: list[Page] = []

    def open_(
        *,
        width: int = 1024,
        height: int = 800,
        scheme: str = "light",
        address: str = "",
        fresh: bool = False,
        **options: Any,
    ) -> Page:
        alone = fresh or address or options
        context = browser.new_context(**{"locale": "en-US", **options}) if alone else person
        at = address or served.address
        opened.append(Page(context, at, size=(width, height), scheme=scheme))
        return opened[-1]

    yield open_
    for page in opened:
        if page.context is not person:
            page.context.close()
    for page in person.pages[1:]:
        page.close()
    person.unroute_all(behavior="ignoreErrors")
    person.pages[0].evaluate("localStorage.clear()")
    for page in opened:
        assert page.foreign == []
        assert [text for text in page.complaints if REFUSAL not in text] == []


@pytest.fixture
def screenshots(tmp_path: Path) -> Path:
    folder = Path(os.environ.get("MELANOMA_SCREENSHOTS") or tmp_path / "screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
