"""The service in its own process, and a Chromium that reports whatever goes wrong in it."""

from __future__ import annotations

import asyncio
import base64
import io
import os
import shutil
from collections.abc import Callable, Iterator
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
SIZE = {"width": 1024, "height": 800}
# What a person would click to have the page as it was.
ANEW = """() => {
  const part = (id) => document.getElementById(id);
  part("tab-analyze").click();
  for (const [name, value] of [["model", part("model").options[0]?.value], ["theme", "system"]]) {
    if (!value || part(name).value === value) continue;
    part(name).value = value;
    part(name).dispatchEvent(new Event("change", { bubbles: true }));
  }
  part("clear").disabled = false;
  part("clear").click();
  scrollTo(0, 0);
}"""


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


@pytest.fixture(scope="session")
def chromium() -> Iterator[tuple[Any, Any]]:
    """Chromium, and the event loop of what steers it, which is said to run where we return."""
    sync_api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("chromium is not installed (apt-get install chromium)")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        loop = asyncio.get_running_loop()
        yield browser, loop
        asyncio._set_running_loop(loop)
        browser.close()


@pytest.fixture(scope="module")
def browser(chromium: tuple[Any, Any]) -> Iterator[Any]:
    """The one Chromium of the process. Its loop is said to run in these modules alone: a test of
    another folder could start none of its own."""
    browser, loop = chromium
    asyncio._set_running_loop(loop)
    yield browser
    asyncio._set_running_loop(None)


@pytest.fixture(scope="module")
def person(browser: Any, served: Any) -> Any:
    """The browser's context that the tests share, each of which finds nothing remembered.

    A page that stays open keeps its renderer: to start one anew is half of what a page costs.
    """
    if not browser.contexts:
        context = browser.new_context(locale="en-US")
        context.new_page().goto(f"{served.address}/static/favicon.svg")
    return browser.contexts[0]


class Page:
    """A page of the service, and what it logged and asked for meanwhile."""

    def __init__(self, context: Any, address: str) -> None:
        self.context, self.address = context, address
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page = self.visit()

    def visit(self, part: str = "") -> Any:
        """A page of the same person: what the browser remembers is kept."""
        self.page = self.context.new_page()
        self.page.set_viewport_size(SIZE)
        self.page.emulate_media(color_scheme="light")
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

    def check(self) -> None:
        """A breach of the content security policy, an exception, or a request to another host is a
        complaint."""
        assert self.foreign == []
        assert [text for text in self.complaints if REFUSAL not in text] == []

    def begin_anew(self) -> None:
        """As the page was when it was opened, but for the way to explain and the table's order."""
        self.page.unroute_all(behavior="ignoreErrors")
        self.page.set_viewport_size(SIZE)
        self.page.emulate_media(color_scheme="light", forced_colors="none")
        self.page.evaluate(ANEW)
        self.complaints.clear()
        self.requests.clear()

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


@pytest.fixture(scope="session")
def kept_open() -> list[Page]:
    """The page that tests go on with, once there is one."""
    return []


@pytest.fixture
def at(
    person: Any, served: Any, kept_open: list[Page], request: pytest.FixtureRequest
) -> Iterator[Page]:
    """The page, which one test after another begins anew: to open it asks for fifty files.

    A test that reloads it, or looks at how it opens, has `open_page`.
    """
    if kept_open:
        kept_open[0].begin_anew()
    else:
        kept_open.append(Page(person, served.address))
    failures, page = request.session.testsfailed, kept_open[0]
    first = page.page
    yield page
    page.page = first
    # In another language the report's charts follow when they are drawn, whenever that is.
    if request.session.testsfailed > failures or first.input_value("#language") != "en":
        kept_open.clear()
    leave(person, kept_open)
    page.check()


def leave(person: Any, kept_open: list[Page]) -> None:
    """Nothing of a test is remembered, and no page of it is open."""
    kept = [page.page for page in kept_open]
    for page in person.pages[1:]:
        if page not in kept:
            page.close()
    person.unroute_all(behavior="ignoreErrors")
    person.clear_permissions()
    person.pages[0].evaluate("localStorage.clear()")


@pytest.fixture
def open_page(browser: Any, person: Any, served: Any, kept_open: list[Page]) -> Iterator[Any]:
    """A function that opens the page; every page must end without a complaint.

    An address or an option gives the page a context of its own.
    """
    opened: list[Page] = []

    def open_(address: str = "", **options: Any) -> Page:
        alone = address or options
        context = browser.new_context(**{"locale": "en-US", **options}) if alone else person
        opened.append(Page(context, address or served.address))
        return opened[-1]

    yield open_
    for page in opened:
        if page.context is not person:
            page.context.close()
    leave(person, kept_open)
    for page in opened:
        page.check()


@pytest.fixture(scope="session")
def screenshot() -> Callable[..., None]:
    """Keeps what a page shows as PNG of that name, in the folder MELANOMA_SCREENSHOTS if set."""
    folder = os.environ.get("MELANOMA_SCREENSHOTS")

    def keep(page: Any, name: str) -> None:
        if folder:
            page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)

    return keep
