"""One engine for all tests, since it takes seconds to open, and pages with text."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from app.ocr.engine import OcrEngine
from model_store.pixels import Rgb

Written = list[tuple[str, tuple[int, int]]]  # texts, each with x and y of its top left


@pytest.fixture(scope="session")
def engine() -> OcrEngine:
    pytest.importorskip("rapidocr", reason="the extra `ocr` is not installed")
    pytest.importorskip("openvino", reason="the extra `ocr` is not installed")
    return OcrEngine(threads=2)


def page_of(written: Written, *, height: int = 400, width: int = 640, font_px: float = 18) -> Rgb:
    picture = Image.new("RGB", (width, height), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(font_px)
    for text, place in written:
        draw.text(place, text, font=font, fill=(20, 20, 20))
    return np.array(picture)
