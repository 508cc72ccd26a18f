"""Errors on the demo page, and a service that cannot read."""

from collections.abc import Callable

import pytest

from app.demo import page
from app.imaging.decode import ACCEPTED
from tests.app.conftest import Server, png
from tests.app.demo.conftest import Visitor
from tests.app.process import wait_until

pytestmark = pytest.mark.slow


def test_an_error_names_its_cause_and_goes_with_the_next_picture(
    visit: Visitor, start_server: Callable[..., Server]
) -> None:
    server = start_server(ocr="off")
    seen = visit(server)
    seen.choose(b"hello, world", name="notes.txt")
    problem = seen.problem()
    assert "The image cannot be decoded" in problem
    assert f"These 12 bytes are not an image in {ACCEPTED}." in problem
    seen.choose(png())
    assert seen.verdict() == "The line is super-resolved."
    assert seen.page.get_by_role("alert").is_hidden()
    server.app.state.models.begin_drain()
    seen.sample("A blurred sign")
    assert "The service is not taking requests" in seen.problem()
    server.stop()
    seen.choose(png())
    seen.page.get_by_text("It cannot be reached").wait_for()
    assert all("Failed to load resource" in error for error in seen.errors)
    seen.errors.clear()


def test_pasted_text_is_no_picture(visit: Visitor) -> None:
    seen = visit()
    seen.context.grant_permissions(["clipboard-read", "clipboard-write"])
    seen.page.evaluate("navigator.clipboard.writeText('hello')")
    seen.page.keyboard.press("Control+V")
    assert "No picture was found" in seen.problem()


def test_a_dropped_picture_replaces_the_one_in_work(visit: Visitor, start_server: Callable[..., Server]) -> None:
    server = start_server(ocr="off")
    seen = visit(server)
    server.runtime.gate.clear()
    seen.sample("A blurred sign")
    seen.page.get_by_role("progressbar", name="Reading").wait_for()
    wait_until(lambda: server.metric("telescope_images_in_progress") == 1)
    dropped = seen.page.evaluate_handle(
        """(bytes) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], "dropped.png", { type: "image/png" }));
            return data;
        }""",
        list(png(height=9, width=30)),
    )
    seen.page.dispatch_event("#verdict", "drop", {"dataTransfer": dropped})
    wait_until(lambda: server.metric("telescope_requests_total", outcome="cancelled") == 1)
    server.runtime.gate.set()
    seen.page.get_by_role("heading", name="dropped.png").wait_for()
    assert seen.verdict()


@pytest.mark.parametrize(
    ("setting", "advice"), [("auto", "install the extra ocr"), ("off", "TELESCOPE_OCR is off")]
)
def test_a_service_that_cannot_read_says_how_it_could(
    visit: Visitor,
    start_server: Callable[..., Server],
    monkeypatch: pytest.MonkeyPatch,
    setting: str,
    advice: str,
) -> None:
    monkeypatch.setattr(page, "installed", lambda: "")
    seen = visit(start_server(ocr=setting))
    assert advice in seen.page.locator("#no-ocr").inner_text()
    seen.sample("A blurred sign")
    assert seen.verdict() == "The line is super-resolved."
    assert "/v1/super-resolve" in seen.page.locator("#curl").inner_text()
    assert seen.page.locator(".crop img").count() == 1
