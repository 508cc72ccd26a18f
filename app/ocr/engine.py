"""PP-OCRv6's detector and recogniser, out of the wheel of the package rapidocr: nothing is downloaded.

    page -> detect -> lines with their outlines, in reading order;  crops of lines -> read -> text and confidence

Every method blocks and is called by one thread at a time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np

from app.errors import StartupError
from app.imaging.outlines import Points
from model_store.optional import optional
from model_store.pixels import Rgb

RECOGNISER = "rapidocr-v6"  # as the calibrations name it


@dataclass(frozen=True, eq=False)
class TextLine:
    """One detected line. outline: (4, 2), clockwise from the text's top left, in pixels of the page.

    confidence: the detector's own, from 0 to 1.
    """

    outline: Points
    confidence: float


class Reading(NamedTuple):
    """confidence: the recogniser's own, from 0 to 1; 0 for an empty text."""

    text: str
    confidence: float


NOTHING = Reading("", 0.0)


class OcrEngine:
    name = RECOGNISER

    def __init__(self, *, threads: int) -> None:
        """threads: of one call. Raises StartupError when the package is missing or broken."""
        counts = {f"EngineConfig.onnxruntime.{kind}_op_num_threads": threads for kind in ("intra", "inter")}
        with optional("Reading text", "rapidocr", extra="ocr", error=StartupError):
            from rapidocr import RapidOCR

            self._engine: Any = RapidOCR(params={"Global.log_level": "warning", **counts})
        self.version = f"rapidocr {version('rapidocr')}"

    def detect(self, rgb: Rgb) -> list[TextLine]:
        """The lines of text on a page, uint8 (H, W, 3), in reading order; empty if there are none."""
        found = self._engine(_bgr(rgb), use_det=True, use_cls=False, use_rec=False)
        if found.boxes is None:
            return []
        return [
            TextLine(np.asarray(box, np.float64), float(score))
            for box, score in zip(found.boxes, found.scores, strict=True)
        ]

    def read(self, crops: Sequence[Rgb]) -> list[Reading]:
        """The text of each crop, uint8 (H, W, 3), one line each, in order."""
        from rapidocr.ch_ppocr_rec import TextRecInput

        if not crops:
            return []
        found = self._engine._load_rec_model()(TextRecInput(img=[_bgr(crop) for crop in crops]))
        return [
            Reading(text, round(float(score), 4)) if text else NOTHING
            for text, score in zip(found.txts, found.scores, strict=True)
        ]


def _bgr(rgb: Rgb) -> Rgb:
    return np.ascontiguousarray(rgb[:, :, ::-1])  # PP-OCR was trained on pictures loaded by OpenCV
