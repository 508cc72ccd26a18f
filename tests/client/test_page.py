"""`page` of both clients, against real servers: one with the real recogniser, others with a fake one."""

import asyncio
import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from text_telescope import (
    Answer,
    AsyncTelescopeClient,
    BadImage,
    BadRequest,
    Opinion,
    PageResult,
    ServerError,
    TelescopeClient,
)
from text_telescope.page import read_page

from app.imaging.decode import decode
from app.ocr.reader import TextReader
from model_store.pixels import Rgb
from tests.app.conftest import Server
from tests.app.http.test_page import FakeEngine, bars
from tests.conftest import REPOSITORY

MARKET = REPOSITORY / "examples" / "pages" / "market.png"
BARS = bars(150, 160)


@pytest.fixture
def fake(server: Server) -> Server:
    """A service that reads each line as a number."""
    settings, metrics = server.app.state.settings, server.app.state.metrics
    server.app.state.reader = TextReader(settings, metrics, open_engine=lambda **_: FakeEngine())
    return server


def by_both(url: str, page: Any, **options: Any) -> list[PageResult[Any]]:
    """The results of the blocking client and of the asyncio client."""

    async def ask() -> PageResult[Any]:
        async with AsyncTelescopeClient(url) as client:
            result: PageResult[Any] = await client.page(page, **options)
            return result

    with TelescopeClient(url) as client:
        return [client.page(page, **options), asyncio.run(ask())]


@pytest.mark.slow
def test_a_page_is_read(url: str) -> None:
    pytest.importorskip("rapidocr")
    with TelescopeClient(url) as telescope:
        found = telescope.page(MARKET)
    written = MARKET.with_suffix(".txt").read_text().splitlines()
    assert len(set(found.text.splitlines()) & set(written)) >= 8
    assert [line.text for line in found.lines if line.text] == found.text.splitlines()
    assert found.response["recogniser"] == "rapidocr-v6"
    for line in found.lines:
        assert line.plain
        kept = line.super_resolved if line.kept == "super_resolved" else line.plain
        assert (line.text, line.confidence) == kept
    (first, *_) = found.lines
    assert first.box[0][0] < first.box[1][0]
    assert first.box[0][1] < first.box[3][1]


def test_the_lines_have_text_and_readings_and_no_pictures_unless_asked(fake: Server) -> None:
    for found in by_both(fake.url, BARS):
        assert found.text == "150\n160"
        first, _ = found.lines
        assert first.box == ((10, 10), (190, 10), (190, 30), (10, 30))
        assert (first.plain, first.super_resolved) == (Opinion("150", 0.75), Opinion("150", 0.8))
        assert (first.text, first.confidence, first.kept) == ("150", 0.8, "super_resolved")
        assert (first.method, first.reason) == ("super_resolved", "unsure")
        assert [first.picture, first.error, found.picture] == [None] * 3
    for found in by_both(fake.url, BARS, pictures=True):
        pictures = [line.picture for line in found.lines]
        assert [np.asarray(picture).shape for picture in pictures] == [(40, 360, 3)] * 2
        assert {line["data"] for line in found.response["lines"]} == {None}


def test_without_read_the_lines_have_their_places_alone(fake: Server) -> None:
    for found in by_both(fake.url, BARS, read=False):
        assert (found.text, len(found.lines)) == ("", 2)
        assert {(line.text, line.plain, line.kept) for line in found.lines} == {("", None, None)}


def rgb() -> Rgb:
    return decode(BARS)


@pytest.mark.parametrize("given", [rgb(), Image.fromarray(rgb()), BARS])
def test_the_recomposed_page_is_of_the_kind_of_the_page(fake: Server, given: object) -> None:
    for found in by_both(fake.url, given, recompose=True):
        assert isinstance(found.picture, Answer if given is BARS else type(given))
        assert np.asarray(found.picture).shape == (360, 400, 3)
        assert found.text == "150\n160"
        assert found.response["page"]["data"] is None


def test_a_page_in_bgr_comes_back_in_bgr(fake: Server) -> None:
    with TelescopeClient(fake.url, channels="bgr") as telescope:
        found = telescope.page(rgb()[:, :, ::-1], recompose=True)
    assert found.text == "150\n160"
    assert found.picture is not None
    assert found.picture[40, 200].tolist() == [0, 0, 150]


def test_a_line_that_fails_has_its_error_and_place_and_spares_the_others() -> None:
    problem = {"status": 500, "code": "inference_failed", "detail": "The predictor failed on this image."}
    box = [[1, 2], [3, 2], [3, 4], [1, 4]]
    done = {
        "outcome": "ok", "box": box, "method": "kept", "reason": "sure", "media_type": "image/webp",
        "data": base64.b64encode(b"RIFF").decode(), "reading": None,
    }  # fmt: skip
    body = {"text": None, "lines": [{"outcome": "failed", "box": box, "problem": problem}, done], "page": None}
    failed, kept = read_page(httpx.Response(200, json=body)).lines
    assert isinstance(failed.error, BadImage)
    assert (failed.error.index, failed.error.problem.code, failed.box[0]) == (0, "inference_failed", (1, 2))
    assert (failed.text, failed.picture) == ("", None)
    assert (kept.error, kept.picture) == (None, Answer(b"RIFF", "image/webp", "kept", "sure"))


def test_a_page_that_cannot_be_used_raises(fake: Server, tmp_path: Path) -> None:
    with TelescopeClient(fake.url) as telescope:
        with pytest.raises(BadRequest, match="These 4 bytes are not an image"):
            telescope.page(b"text")
        with pytest.raises(BadImage, match="No such file"):
            telescope.page(tmp_path / "page.png")
        with pytest.raises(BadRequest, match="layout"):
            telescope.page(BARS, layout="column")  # type: ignore[call-overload]


def test_a_service_that_cannot_read_says_why(start_server: Callable[..., Server]) -> None:
    with (
        TelescopeClient(start_server(ocr="off").url) as telescope,
        pytest.raises(ServerError, match="TELESCOPE_OCR is off") as refused,
    ):
        telescope.page(BARS)
    assert refused.value.problem
    assert refused.value.problem.code == "not_installed"
