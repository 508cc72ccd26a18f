"""The demo page in Chromium, over a real server."""

import re
import shutil
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.app.conftest import Server
from tests.app.process import Process, ready, wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    playwright = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
    chromium = shutil.which("chromium") or pytest.skip("chromium is not installed (apt-get install chromium)")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=chromium, args=["--no-sandbox"])  # CI runs as root
        yield browser
        browser.close()


class Service:
    """A running service, by its address alone."""

    def __init__(self, url: str) -> None:
        self.url = url


@pytest.fixture(scope="package")
def reading() -> Iterator[Service]:
    """A service with two models that can read, shared by all tests of the page."""
    pytest.importorskip("rapidocr", reason="the extra `ocr` is not installed")
    process = Process(TELESCOPE_MODEL="tbsrn:4,tbsrn:1")
    wait_until(lambda: ready(process.url()), 60)
    yield Service(process.url())
    process.kill()


class Visit:
    """An open page, with all its requests, console messages and errors."""

    def __init__(self, browser: "Browser", server: Server | Service, *, width: int = 1200) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 800})
        self.page: Page = self.context.new_page()
        self.url = server.url
        self.requests: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.errors.append(message.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(server.url)

    def choose(self, *data: bytes, name: str = "crop.png") -> None:
        """name: of one picture; several are numbered."""
        names = [name] if len(data) == 1 else [f"{number}-{name}" for number, _ in enumerate(data, 1)]
        files = [
            {"name": one, "mimeType": "application/octet-stream", "buffer": content}
            for one, content in zip(names, data, strict=True)
        ]
        self.page.set_input_files("#file", files=files)  # type: ignore[arg-type]

    def sample(self, title: str) -> None:
        self.page.get_by_role("button", name=title).click()

    def verdict(self) -> str:
        """The sentence on the finished result."""
        self.page.locator("body[data-shows=result] #result:not([aria-busy])").wait_for()
        return self.page.locator("#verdict").inner_text()

    def problem(self) -> str:
        """The text of the error that is shown."""
        alert = self.page.get_by_role("alert").filter(has_text=re.compile("."))
        alert.wait_for()
        return alert.inner_text()


@pytest.fixture
def visit(browser: "Browser", server: Server) -> Iterator[Callable[..., Visit]]:
    """Open the page; at the end it must have contacted no other host and logged no error."""
    visits: list[Visit] = []

    def open_page(on: Server | Service = server, **options: Any) -> Visit:
        visits.append(Visit(browser, on, **options))
        return visits[-1]

    yield open_page
    for one in visits:
        one.context.close()
        assert one.requests
        own = (one.url, f"blob:{one.url}")
        assert [url for url in one.requests if not url.startswith(own)] == []
        assert one.errors == []


Visitor = Callable[..., Visit]
