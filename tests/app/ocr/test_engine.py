import socket
from importlib.metadata import version
from typing import Any, NoReturn

import numpy as np
import pytest

from app.errors import StartupError
from app.imaging import regions
from app.imaging.warp import rectify
from app.ocr import engine as engine_module
from app.ocr.engine import NOTHING, OcrEngine, Reading
from model_store.pixels import Rgb
from tests.app.ocr.conftest import page_of

TEXTS = ["Invoice number 4711", "Paid on Monday", "Total amount 17.50", "Thank you very much"]
LETTER = [(text, (60 + 10 * i, 40 + 60 * i)) for i, text in enumerate(TEXTS)]


def read_page(engine: OcrEngine, page: Rgb) -> list[str]:
    places = [
        regions.locate(line.outline, page=page.shape[:2], units="pixels", min_side_px=4)
        for line in engine.detect(page)
    ]
    return [text.replace(" ", "") for text, _ in engine.read([rectify(page, place) for place in places])]


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_a_page_is_read_however_it_is_turned(engine: OcrEngine, quarters: int) -> None:
    page = np.ascontiguousarray(np.rot90(page_of(LETTER, font_px=26), quarters))
    assert read_page(engine, page) == [text.replace(" ", "") for text in TEXTS]


def test_a_single_letter_is_upright_on_a_page_of_level_lines(engine: OcrEngine) -> None:
    page = page_of([*LETTER, ("1", (560, 100))], font_px=26)
    digit = max(engine.detect(page), key=lambda line: line.outline[:, 0].min())
    assert digit.outline[:, 0].min() > 500
    assert digit.outline[0, 0] < digit.outline[1, 0]


@pytest.mark.slow
@pytest.mark.parametrize("size", [(4, 4), (5000, 40), (400, 600)])
def test_blank_and_noisy_pages_have_no_lines(engine: OcrEngine, size: tuple[int, int]) -> None:
    assert engine.detect(np.full((*size, 3), 255, np.uint8)) == []
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    assert engine.detect(noise) == []


def test_a_reading_does_not_depend_on_the_other_crops(engine: OcrEngine) -> None:
    crops = [page_of([(text, (6, 4))], height=36, width=60 + 11 * len(text), font_px=24) for text in TEXTS]
    assert engine.read(crops) == [engine.read([crop])[0] for crop in crops]
    assert engine.read([]) == []
    assert engine.read([np.full((20, 100, 3), 255, np.uint8)]) == [NOTHING]


def test_readings_are_those_of_rapidocr_on_onnx_runtime(engine: OcrEngine) -> None:
    pytest.importorskip("onnxruntime", reason="the extra `ocr` is not installed")
    from rapidocr import RapidOCR

    other: Any = RapidOCR(params={"Global.log_level": "warning"})
    for height, text in ((20, TEXTS[0]), (40, TEXTS[1]), (60, " ".join(TEXTS))):
        crop = page_of([(text, (6, 2))], height=height, width=height * len(text) // 2, font_px=0.7 * height)
        found = other(crop[:, :, ::-1], use_det=False, use_cls=False, use_rec=True)
        reading = engine.read([crop])[0]
        assert reading.text == found.txts[0]
        assert reading.confidence == pytest.approx(found.scores[0], abs=0.02)


def test_opening_and_reading_need_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rapidocr", reason="the extra `ocr` is not installed")

    def refuse(*args: object, **kwargs: object) -> NoReturn:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    opened = OcrEngine(threads=1)
    assert opened.version == f"rapidocr {version('rapidocr')}"
    assert read_page(opened, page_of(LETTER[:1], height=120, font_px=26)) == [TEXTS[0].replace(" ", "")]


def test_a_missing_model_is_named_and_not_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rapidocr", reason="the extra `ocr` is not installed")
    monkeypatch.setitem(engine_module.MODELS, "Rec", "absent")
    with pytest.raises(StartupError, match=r"absent\.onnx"):
        OcrEngine(threads=1).read([np.full((20, 100, 3), 255, np.uint8)])


def test_an_empty_reading_has_no_confidence() -> None:
    assert Reading("", 0.0) == NOTHING
