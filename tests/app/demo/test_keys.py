"""The demo page of a service that requires API keys, and of one with an admin port."""

from collections.abc import Callable

from app.http.api_keys import new_key
from tests.app.conftest import Server
from tests.app.demo.conftest import Visitor

KEY, STORED = new_key("visitor")


def test_the_page_asks_for_the_key_and_does_not_store_it(
    visit: Visitor, start_server: Callable[..., Server]
) -> None:
    server = start_server(api_keys=STORED.entry())
    seen = visit(server)
    field = seen.page.get_by_label("API key")
    seen.sample("Harbour")
    assert "An API key is required" in seen.problem()
    assert all("401" in error for error in seen.errors)
    seen.errors.clear()
    field.fill(f" {KEY} ")
    field.press("Enter")  # the picture is sent again
    seen.await_result("harbour.png")
    assert seen.page.locator("#model").inner_text() == "tbsrn:1"
    assert "$TELESCOPE_API_KEY" in seen.page.locator("#shell").inner_text()
    stored = "localStorage.length + sessionStorage.length + document.cookie.length + location.search.length"
    assert seen.page.evaluate(stored) == 0
    assert KEY not in seen.page.content()
    seen.page.reload()
    assert field.input_value() == ""
    field.fill(KEY)
    field.press("Enter")
    seen.page.locator("#model").filter(has_text="tbsrn:1").wait_for()


def test_an_open_service_asks_for_no_key(visit: Visitor) -> None:
    seen = visit()
    assert not seen.page.get_by_label("API key").is_visible()
    assert "Authorization" not in seen.page.locator("#shell").inner_text()


def test_links_to_the_admin_port_are_hidden(visit: Visitor, start_server: Callable[..., Server]) -> None:
    seen = visit(start_server(admin_port=1))
    assert not seen.page.get_by_role("link", name="Metrics").is_visible()
    seen.sample("Harbour")
    seen.await_result("harbour.png")
