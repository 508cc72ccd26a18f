"""Reading text before and after: the endpoint, with the real recogniser, and the page."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.demo import recognise
from app.errors import StartupError
from app.main import create_app
from app.settings import Settings
from tests.app.conftest import Server, png
from tests.app.demo.conftest import Visitor
from tests.app.fakes import FakeRuntime
from tests.conftest import REPOSITORY

HARBOUR = (REPOSITORY / "examples" / "crops" / "harbour.png").read_bytes()
PNG = {"Content-Type": "image/png"}


@pytest.fixture(scope="module")
def reading(fake_store: Path) -> Iterator[Server]:
    pytest.importorskip("rapidocr", reason="the extra `ocr` is not installed")
    settings = Settings(model_store=fake_store, demo_ocr=True, max_request_bytes=50_000, max_image_pixels=100_000)
    running = Server(settings, FakeRuntime())
    yield running
    running.stop()


def test_a_crop_is_read(reading: Server) -> None:
    answer = reading.client.post("/v1/recognise", content=HARBOUR, headers=PNG).json()
    assert answer["text"] == "Harbour"
    assert 0.5 < answer["confidence"] <= 1
    assert answer["recogniser"].startswith("rapidocr ")


def test_a_plain_picture_has_no_text(reading: Server) -> None:
    answer = reading.client.post("/v1/recognise", content=png(), headers=PNG).json()
    assert (answer["text"], answer["confidence"]) == ("", 0)


REFUSED = {
    "no picture": (b"hello, world", 400, "undecodable_image"),
    "too many bytes": (png() + bytes(50_000), 413, "too_many_bytes"),
    "too many pixels": (png(height=400, width=400), 413, "too_many_pixels"),
    "too small": (png(height=2, width=40), 422, "image_too_small"),
    "too wide": (png(height=4, width=4 * 65), 413, "too_many_pixels"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_uploads_have_the_usual_limits(reading: Server, case: str) -> None:
    data, status, code = REFUSED[case]
    answer = reading.client.post("/v1/recognise", content=data, headers=PNG)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_request_may_have_one_picture(reading: Server) -> None:
    files = [("image", png()), ("image", png())]
    assert reading.client.post("/v1/recognise", files=files).json()["code"] == "too_many_images"


def test_a_full_queue_is_refused(reading: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recognise, "MAX_WAITING", 0)
    answer = reading.client.post("/v1/recognise", content=png(), headers=PNG)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")


def test_every_refusal_is_in_the_openapi_page(reading: Server) -> None:
    operation = reading.client.get("/openapi.json").json()["paths"]["/v1/recognise"]["post"]
    assert {"400", "408", "413", "415", "422", "429", "500", "503", "504"} <= set(operation["responses"])


def test_the_page_shows_the_text_before_and_after(visit: Visitor, reading: Server) -> None:
    seen = visit(reading)
    seen.sample("Harbour")
    for which in ("before", "after"):
        seen.page.locator(f"#text-{which}").filter(has_text="Harbour (").wait_for()
    assert seen.page.get_by_role("heading", name="Read by rapidocr").is_visible()


def test_a_missing_recogniser_stops_the_start_if_it_is_switched_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    with pytest.raises(StartupError, match="TELESCOPE_DEMO_OCR=true needs the package rapidocr, which is not"):
        create_app(Settings(demo_ocr=True))
