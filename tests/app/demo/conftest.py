"""The demo page in Chromium, over a real server."""

import re
import shutil
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from model_store.pixels import Rgb
from tests.app.conftest import Server

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


class Visit:
    """An open page, with all its requests, console messages and errors."""

    def __init__(
        self, browser: "Browser", server: Server, *, width: int = 1200, dark: bool = False, go: bool = True
    ) -> None:
        self.context = browser.new_context(
            viewport={"width": width, "height": 800}, color_scheme="dark" if dark else "light"
        )
        self.page: Page = self.context.new_page()
        self.url = server.url
        self.requests: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.errors.append(message.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        if go:
            self.page.goto(server.url)

    def choose(self, *data: bytes, name: str = "crop.png") -> None:
        files = [{"name": name, "mimeType": "application/octet-stream", "buffer": one} for one in data]
        self.page.set_input_files("#file", files=files)  # type: ignore[arg-type]

    def sample(self, word: str) -> None:
        self.page.get_by_role("button", name=word).click()

    def await_result(self, name: str = "") -> None:
        """Wait for the result of the picture of that name."""
        self.page.get_by_role("status").filter(has_text=re.compile(rf"^{re.escape(name)}.* pixels in ")).wait_for()

    def problem(self) -> str:
        """The text of the error that is shown."""
        alert = self.page.get_by_role("alert").filter(has_text=re.compile("."))
        alert.wait_for()
        return alert.inner_text()

    def pixels(self, selector: str) -> Rgb:
        """Pixels of a canvas or picture, uint8 (H, W, 3)."""
        width, height, values = self.page.evaluate(
            """(selector) => {
                const element = document.querySelector(selector);
                const { naturalWidth: width = element.width, naturalHeight: height = element.height } = element;
                const pen = new OffscreenCanvas(width, height).getContext("2d");
                pen.drawImage(element, 0, 0);
                return [width, height, Array.from(pen.getImageData(0, 0, width, height).data)];
            }""",
            selector,
        )
        return np.array(values, np.uint8).reshape(height, width, 4)[:, :, :3]


@pytest.fixture
def visit(browser: "Browser", server: Server) -> Iterator[Callable[..., Visit]]:
    """Open the page; at the end it must have contacted no other host and logged no error."""
    visits: list[Visit] = []

    def open_page(on: Server = server, **options: Any) -> Visit:
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
