"""A page in, lines of text out: the endpoint over a real socket, also with the real recogniser."""

import base64
import json
import threading
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest

from app.errors import StartupError
from app.imaging import decode, encode
from app.imaging.quality_gate import QualityGate
from app.ocr.engine import Reading, TextLine
from app.ocr.reader import MAX_PAGES, TextReader
from app.settings import Settings
from model_store import BUNDLED
from model_store.calibration import Calibration
from model_store.pixels import Rgb
from model_store.store import ModelStore
from tests.app.conftest import Server, assert_reconciled
from tests.app.process import wait_until
from tests.conftest import REPOSITORY

PATH = "/v1/super-resolve/page"
MARKET = REPOSITORY / "examples" / "pages" / "market.png"
TEXT = MARKET.with_suffix(".txt").read_text().split("\n")


class FakeEngine:
    """Finds rows of bars, and reads each by its colour; `gate` holds it inside a step."""

    version = "fake 1"

    def __init__(self, *, threads: int = 0) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.read_crops: list[int] = []  # number of crops of each step
        self.read_s = 0.0  # seconds for each crop
        self.fault: Exception | None = None

    def detect(self, rgb: Rgb, *, is_cancelled: Callable[[], bool]) -> list[TextLine]:
        assert self.gate.wait(30), "the test forgot to open the gate"
        if self.fault:
            raise self.fault
        rows = np.flatnonzero(rgb[:, rgb.shape[1] // 2, 0] < 200)
        spans = np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1) if len(rows) else []
        right = rgb.shape[1] - 10
        return [
            TextLine(np.array([[10, s[0]], [right, s[0]], [right, s[-1] + 1], [10, s[-1] + 1]], np.float64), 0.9)
            for s in spans
        ]

    def read(self, crops: Iterable[Rgb]) -> list[Reading]:
        """Confidence: the red of the middle by 200, and 0.05 more for a crop of twice the size."""
        assert self.gate.wait(30), "the test forgot to open the gate"
        found: list[Reading] = []
        for crop in crops:
            time.sleep(self.read_s)
            red = int(crop[crop.shape[0] // 2, crop.shape[1] // 2, 0])
            found.append(Reading(f"{red}", min(1.0, red / 200 + 0.05 * (crop.shape[0] > 30))))
        self.read_crops.append(len(found))
        return found


def bars(*reds: int, width: int = 200) -> bytes:
    """A white page with a bar 20 px high for each line, of this red."""
    page = np.full((40 * len(reds) + 100, width, 3), 255, np.uint8)
    for i, red in enumerate(reds):
        page[40 * i + 10 : 40 * i + 30, 10:-10] = (red, 0, 0)
    return encode.encode(page, "png")


def post(server: Server, page: bytes, *, accept: str = "application/json", **query: str) -> httpx.Response:
    return server.client.post(
        PATH, params=query, files=[("image", ("page.png", page))], headers={"Accept": accept}
    )


@pytest.fixture(scope="module")
def calibrated() -> QualityGate:
    calibration = Calibration.of(ModelStore(BUNDLED).resolve("tbsrn:4"))
    assert calibration
    return QualityGate(calibration)


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def reading(start_server: Callable[..., Server], calibrated: QualityGate, engine: FakeEngine) -> Iterator[Server]:
    """A service with the fake engine."""
    running = start_server(calibrated)
    settings: Settings = running.app.state.settings
    running.app.state.reader = TextReader(settings, running.app.state.metrics, open_engine=lambda **_: engine)
    yield running
    engine.gate.set()


def test_each_line_comes_with_its_place_and_picture_in_reading_order(reading: Server) -> None:
    body = post(reading, bars(10, 20, 30)).json()
    assert [line["box"][0] for line in body["lines"]] == [[10, 10], [10, 50], [10, 90]]
    assert (body["text"], body["recogniser"], body["page"]) == (None, None, None)
    assert body["input"] == {"width": 200, "height": 220}
    for line, red in zip(body["lines"], (10, 20, 30), strict=True):
        picture = decode.decode(base64.b64decode(line["data"]))
        assert picture.shape == (40, 360, 3)
        assert abs(int(picture[20, 180, 0]) - red) < 6
        assert line["reading"] is None


def test_a_line_that_is_read_surely_is_kept_and_an_unsure_one_is_read_again(
    reading: Server, engine: FakeEngine
) -> None:
    body = post(reading, bars(199, 100, 130), read="true").json()
    found = [(line["method"], line["reason"], line["reading"]["kept"]) for line in body["lines"]]
    assert found == [("kept", "sure", "plain"), *[("super_resolved", "unsure", "super_resolved")] * 2]
    assert engine.read_crops == [3, 2]  # the sure line was read once
    sure, unsure, _ = (line["reading"] for line in body["lines"])
    assert (sure["super_resolved"], sure["confidence"]) == (None, 0.995)
    assert unsure["super_resolved"]["confidence"] > unsure["plain"]["confidence"]
    assert body["text"].split("\n") == [line["reading"]["text"] for line in body["lines"]]
    assert reading.metric("telescope_lines_read_total", kept="super_resolved") == 2
    assert_reconciled(reading)


def test_mode_always_reads_every_line_twice(reading: Server, engine: FakeEngine) -> None:
    body = post(reading, bars(199, 100), read="true", mode="always").json()
    assert [line["reason"] for line in body["lines"]] == ["always", "always"]
    assert engine.read_crops == [2, 2]


def test_a_page_of_many_lines_is_read_in_steps(reading: Server, engine: FakeEngine) -> None:
    post(reading, bars(*[199] * 40), read="true")
    assert engine.read_crops == [16, 16, 8]


def test_the_recomposed_page_shows_the_lines_that_gained(reading: Server) -> None:
    response = post(reading, bars(199, 100), read="true", recompose="true", accept="image/*")
    assert response.headers["content-type"] == "image/png"
    page = decode.decode(response.content)
    assert page.shape == (360, 400, 3)
    body = post(reading, bars(199, 100), read="true", recompose="true").json()
    assert (decode.decode(base64.b64decode(body["page"]["data"])) == page).all()


def test_a_zip_holds_the_lines_the_page_and_the_text(reading: Server) -> None:
    response = post(reading, bars(199, 100), read="true", recompose="true", accept="application/zip")
    archive = zipfile.ZipFile(BytesIO(response.content))
    assert archive.namelist() == ["results.json", "text.txt", "000.png", "001.png", "page.png"]
    results = json.loads(archive.read("results.json"))
    assert archive.read("text.txt").decode() == f"{results['text']}\n"
    assert [line["data"] for line in results["lines"]] == ["000.png", "001.png"]


def test_pictures_can_be_left_out(reading: Server) -> None:
    body = post(reading, bars(199, 100), pictures="false").json()
    assert [line["data"] for line in body["lines"]] == [None, None]


def test_a_line_too_wide_for_its_format_is_read_if_its_picture_is_left_out(reading: Server) -> None:
    wide = bars(100, width=8300)  # WebP holds 16,383 pixels a side
    (refused,) = post(reading, wide, read="true", format="webp").json()["lines"]
    assert refused["problem"]["code"] == "result_too_large"
    (read,) = post(reading, wide, read="true", format="webp", pictures="false").json()["lines"]
    assert read["reading"]["text"] == "100"


def test_a_page_without_text_has_no_lines(reading: Server) -> None:
    blank = encode.encode(np.full((300, 200, 3), 255, np.uint8), "png")
    body = post(reading, blank, read="true", recompose="true").json()
    assert (body["lines"], body["text"]) == ([], "")
    assert decode.decode(base64.b64decode(body["page"]["data"])).shape == (600, 400, 3)


def test_a_low_picture_is_one_line_unless_the_caller_says_otherwise(reading: Server) -> None:
    line = encode.encode(np.full((24, 100, 3), 150, np.uint8), "png")
    (found,) = post(reading, line, read="true").json()["lines"]
    assert found["box"] == [[0, 0], [100, 0], [100, 24], [0, 24]]
    assert post(reading, line, layout="page").json()["lines"][0]["box"] == [[10, 0], [90, 0], [90, 24], [10, 24]]
    (found,) = post(reading, bars(100), layout="line").json()["lines"]
    assert found["box"][2] == [200, 140]


def test_a_word_that_is_not_found_is_read_whole(reading: Server) -> None:
    word = encode.encode(np.full((120, 300, 3), 230, np.uint8), "png")
    (found,) = post(reading, word, read="true").json()["lines"]
    assert (found["box"][2], found["reading"]["text"]) == ([300, 120], "230")
    assert post(reading, word, read="true", layout="page").json()["lines"] == []


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ({"read": "maybe"}, "'read' is 'maybe'; it must be true or false"),
        ({"layout": "column"}, "'layout' is 'column'; it must be 'auto', 'page' or 'line'"),
        ({"read": "true", "recogniser": "tesseract"}, "rapidocr-v6 reads with read=true"),
        ({"recogniser": "crnn"}, "not calibrated for the recogniser 'crnn'"),
        ({"regions": "[]"}, "no query parameter 'regions'"),
    ],
)
def test_a_wrong_parameter_is_named(reading: Server, query: dict[str, str], says: str) -> None:
    response = post(reading, bars(100), **query)
    assert response.status_code == 422
    assert says in response.json()["detail"]


def test_too_large_pages_and_too_many_pictures_are_refused_with_the_right_call(reading: Server) -> None:
    page = encode.encode(np.zeros((4001, 4000, 3), np.uint8), "png")
    too_large = post(reading, page)
    assert (too_large.status_code, too_large.json()["code"]) == (413, "too_many_pixels")
    assert "send it in parts" in too_large.json()["detail"]
    two = reading.client.post(PATH, files=[("image", ("a.png", bars(1))), ("image", ("b.png", bars(2)))])
    assert (two.status_code, two.json()["code"]) == (413, "too_many_images")


def test_a_page_with_too_many_lines_is_refused(
    start_server: Callable[..., Server], calibrated: QualityGate, engine: FakeEngine
) -> None:
    server = start_server(calibrated, max_regions=2)
    server.app.state.reader = TextReader(
        server.app.state.settings, server.app.state.metrics, open_engine=lambda **_: engine
    )
    response = post(server, bars(1, 2, 3))
    assert (response.status_code, response.json()["code"]) == (413, "too_many_regions")
    assert "has 3 lines of text; at most 2" in response.json()["detail"]


def test_a_page_beyond_the_turn_is_refused_and_one_beyond_its_deadline_ends(
    reading: Server, engine: FakeEngine
) -> None:
    engine.gate.clear()
    with ThreadPoolExecutor(MAX_PAGES) as pool:
        waiting = [pool.submit(post, reading, bars(100), read="true") for _ in range(MAX_PAGES)]
        wait_until(lambda: reading.app.state.reader._pages == MAX_PAGES)
        refused = post(reading, bars(100))
        assert (refused.status_code, refused.json()["code"]) == (429, "overloaded")
        assert int(refused.headers["retry-after"]) >= 1
        engine.gate.set()
        assert {one.result().status_code for one in waiting} == {200}
    engine.gate.clear()
    late = reading.client.post(
        PATH, files=[("image", ("page.png", bars(100)))], headers={"X-Request-Timeout-Ms": "300"}
    )
    assert (late.status_code, late.json()["code"]) == (504, "deadline_exceeded")
    engine.gate.set()
    wait_until(lambda: reading.app.state.capacity.decoded_bytes.used == 0)
    assert post(reading, bars(100)).status_code == 200
    assert_reconciled(reading)


def test_a_page_that_would_miss_its_deadline_behind_another_is_refused_at_once(
    reading: Server, engine: FakeEngine
) -> None:
    hurried = {"X-Request-Timeout-Ms": "3000"}  # the first page has to take 2.5 s, as far as the service knows
    engine.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(post, reading, bars(100))
        wait_until(lambda: reading.app.state.reader._pages == 1)
        refused = reading.client.post(PATH, files={"image": bars(100)}, headers=hurried)
        assert (refused.status_code, refused.headers.get("retry-after")) == (429, "3")
        engine.gate.set()
        assert first.result().status_code == 200
    assert reading.client.post(PATH, files={"image": bars(100)}, headers=hurried).status_code == 200


def test_a_page_that_never_fits_beside_its_lines_is_not_told_to_try_again(
    start_server: Callable[..., Server], calibrated: QualityGate
) -> None:
    small = start_server(calibrated, max_queue_bytes=2**20)
    small.app.state.reader = TextReader(small.app.state.settings, small.app.state.metrics, open_engine=FakeEngine)
    refused = post(small, bars(20, 20), recompose="true", mode="always")
    assert (refused.status_code, refused.json()["code"]) == (413, "request_too_large")


def test_reading_stops_at_the_deadline_before_the_next_line(reading: Server, engine: FakeEngine) -> None:
    engine.read_s = 0.4
    late = reading.client.post(
        PATH, params={"read": "true"}, headers={"X-Request-Timeout-Ms": "500"}, files={"image": bars(*[20] * 9)}
    )
    assert (late.status_code, late.json()["code"]) == (504, "deadline_exceeded")
    wait_until(lambda: bool(engine.read_crops))
    assert engine.read_crops[0] < 4


def test_an_engine_that_fails_gives_an_error_of_the_service_and_the_next_page_is_read(
    reading: Server, engine: FakeEngine
) -> None:
    engine.fault = RuntimeError("out of luck")
    failed = post(reading, bars(100))
    assert (failed.status_code, failed.json()["code"]) == (500, "internal_error")
    engine.fault = None
    assert post(reading, bars(100)).status_code == 200


def test_without_the_package_the_answer_says_how_to_install_it(
    start_server: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.ocr.reader.installed", lambda: "")
    missing = post(start_server(), bars(100))
    assert (missing.status_code, missing.json()["code"]) == (501, "not_installed")
    assert "pip install 'text-telescope[ocr]'" in missing.json()["detail"]
    off = post(start_server(ocr="off"), bars(100))
    assert (off.status_code, off.json()["detail"][:20]) == (501, "TELESCOPE_OCR is off")


def test_a_broken_package_stops_start_up_only_if_reading_is_required(reading: Server, fake_store: Path) -> None:
    def broken(**_: Any) -> Any:
        raise StartupError("Reading text needs the package rapidocr, which cannot be loaded.")

    metrics = reading.app.state.metrics
    with pytest.raises(StartupError, match="cannot be loaded"):
        TextReader(Settings(model_store=fake_store, ocr="on"), metrics, open_engine=broken)
    reading.app.state.reader = TextReader(Settings(model_store=fake_store), metrics, open_engine=broken)
    refused = post(reading, bars(100))
    assert (refused.status_code, refused.json()["code"]) == (501, "not_installed")


@pytest.fixture(scope="module")
def real(fake_store: Path, calibrated: QualityGate) -> Iterator[Server]:
    """A service with PP-OCRv6."""
    pytest.importorskip("rapidocr", reason="the extra `ocr` is not installed")
    from tests.app.fakes import FakeRuntime

    running = Server(Settings(model_store=fake_store), FakeRuntime(), calibrated)
    yield running
    running.stop()


@pytest.mark.slow
def test_a_real_page_is_read(real: Server) -> None:
    body = post(real, MARKET.read_bytes(), read="true").json()
    assert body["recogniser"] == "rapidocr-v6"
    assert body["recogniser_version"].startswith("rapidocr ")
    read = {word for line in body["lines"] for word in line["reading"]["text"].lower().split()}
    assert {"harbour", "market", "saturday", "sunday"} <= read


@pytest.mark.slow
def test_a_blurred_line_of_a_page_is_the_one_that_is_read_again(real: Server) -> None:
    page = np.full((300, 700, 3), 255, np.uint8)
    alike = "ilIl1iIl O0OoO"  # letters that look alike once they are blurred, of which no recogniser is sure
    for text, y, scale in (("Platform seven", 70, 1.2), (alike, 170, 0.8)):
        cv2.putText(page, text, (30, y), cv2.FONT_HERSHEY_DUPLEX, scale, (0, 0, 0), 2)
    page[110:200] = cv2.GaussianBlur(page[110:200], (0, 0), 3.4)
    body = post(real, encode.encode(page, "png"), read="true").json()
    sharp, blurred = body["lines"]
    assert (sharp["reason"], sharp["reading"]["text"]) == ("sure", "Platform seven")
    assert blurred["reason"] == "unsure"
    assert blurred["blur_px"] > 2.5


@pytest.mark.slow
def test_the_api_document_names_the_parameters(real: Server) -> None:
    operation = real.client.get("/openapi.json").json()["paths"][PATH]["post"]
    names = {parameter["name"] for parameter in operation["parameters"]}
    assert {"read", "recompose", "pictures", "layout", "recogniser", "model"} <= names
    assert "501" in operation["responses"]


def test_the_demo_page_opens_the_engine_before_the_first_picture(reading: Server, engine: FakeEngine) -> None:
    assert reading.app.state.reader._engine is None
    assert reading.client.get("/").status_code == 200
    wait_until(lambda: reading.app.state.reader._engine is engine)
