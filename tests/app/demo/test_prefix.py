"""The demo page and the documentation in a browser, behind a proxy that takes a prefix away."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.app.conftest import Server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Route

pytestmark = pytest.mark.slow

PUBLIC = "https://example.org/tt/"


def test_the_pages_send_their_requests_below_the_prefix(
    browser: "Browser", start_server: Callable[..., Server]
) -> None:
    server = start_server(ocr="off")
    asked: list[str] = []

    def proxy(route: "Route") -> None:
        asked.append(route.request.url)
        assert asked[-1].startswith(PUBLIC)
        route.fulfill(response=route.fetch(url=f"{server.url}/{asked[-1].removeprefix(PUBLIC)}"))

    page = browser.new_page()
    page.route(re.compile("^http"), proxy)
    page.goto(PUBLIC)
    page.get_by_role("button", name="A blurred sign").click()
    page.locator("body[data-shows=result] #result:not([aria-busy])").wait_for()
    assert any(address.startswith(f"{PUBLIC}v1/super-resolve") for address in asked)
    page.get_by_role("link", name="API docs").click()
    page.get_by_text("The served models").click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    page.get_by_role("cell", name="200").first.wait_for()
    assert f"{PUBLIC}v1/models?verbose=false" in asked  # the icon may come after it
    assert f"{PUBLIC}v1/models" in page.locator(".request-url").inner_text()
    page.goto(f"{PUBLIC}redoc")  # whose script would ask its maker's host for a logo
    page.get_by_role("heading", name="Super-resolve regions of a page").wait_for()
    page.wait_for_load_state("networkidle")
    page.close()
