"""The demo page of a service that requires API keys, and of one with an admin port."""

from collections.abc import Callable

import pytest

from app.http.api_keys import new_key
from tests.app.conftest import Server
from tests.app.demo.conftest import Visitor

pytestmark = pytest.mark.slow

KEY, STORED = new_key("visitor")


def test_the_page_asks_for_the_key_and_does_not_store_it(
    visit: Visitor, start_server: Callable[..., Server]
) -> None:
    server = start_server(api_keys=STORED.entry(), ocr="off")
    seen = visit(server)
    field = seen.page.get_by_label("API key")
    assert "needs your API key" in seen.page.locator("#verdict-note").inner_text()
    seen.sample("A blurred sign")
    assert "An API key is required" in seen.problem()
    assert "type it in the field API key" in seen.problem()
    assert all("401" in error for error in seen.errors)
    seen.errors.clear()
    field.fill(f" {KEY} ")
    field.press("Enter")  # the picture is sent again
    assert seen.verdict()
    assert seen.page.locator("#model").input_value() == "tbsrn:1"
    for code in ("curl", "python"):
        assert "TELESCOPE_API_KEY" in seen.page.locator(f"#{code}").inner_text()
    stored = "localStorage.length + sessionStorage.length + document.cookie.length + location.search.length"
    assert seen.page.evaluate(stored) == 0
    assert KEY not in seen.page.content()
    seen.page.reload()
    assert field.input_value() == ""


def test_an_open_service_asks_for_no_key_and_an_admin_port_hides_its_links(
    visit: Visitor, start_server: Callable[..., Server]
) -> None:
    seen = visit(start_server(admin_port=1))
    assert not seen.page.get_by_label("API key").is_visible()
    assert "Authorization" not in seen.page.locator("#curl").inner_text()
    assert not seen.page.get_by_role("link", name="Metrics").is_visible()
