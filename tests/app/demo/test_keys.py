"""The demo page where API keys are required, and where the documentation has another port."""

from collections.abc import Callable

from app.http.api_keys import new_key
from tests.app.conftest import Server
from tests.app.demo.conftest import Visitor

KEY, STORED = new_key("visitor")


def test_the_page_asks_for_the_key_and_keeps_it_nowhere(
    visit: Visitor, start_server: Callable[..., Server]
) -> None:
    server = start_server(api_keys=STORED.entry())
    seen = visit(server)
    field = seen.page.get_by_label("API key")
    seen.sample("Harbour")
    assert "An API key is required" in seen.problem()
    assert all("401" in complaint for complaint in seen.complaints)
    seen.complaints.clear()
    field.fill(f" {KEY} ")
    field.press("Enter")  # the picture is asked about again
    seen.answered("harbour.png")
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


def test_links_that_another_port_has_are_not_offered(visit: Visitor, start_server: Callable[..., Server]) -> None:
    seen = visit(start_server(admin_port=1))
    assert not seen.page.get_by_role("link", name="Metrics").is_visible()
    seen.sample("Harbour")
    seen.answered("harbour.png")
