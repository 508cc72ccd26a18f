"""PP-OCRv6's detector and recogniser, out of the wheel of the package rapidocr, on OpenVINO.

    page -> detect -> lines with their outlines, in reading order;  crops of lines -> read -> text and confidence

Nothing is downloaded: the paths of the models are given, and a missing file is an error. Every method blocks and
is called by one thread at a time.
"""

import importlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from app.errors import StartupError
from app.imaging.outlines import Points
from app.ocr.detector import find_lines
from app.ocr.direction import upright
from app.ocr.order import reading_order
from app.ocr.pieces import pieces
from model_store.optional import optional
from model_store.pixels import Rgb

RECOGNISER = "rapidocr-v6"  # as the calibrations name it
MODELS = {"Det": "PP-OCRv6_det_small", "Rec": "PP-OCRv6_rec_small", "Cls": "ch_ppocr_mobile_v2.0_cls_mobile"}
MAX_LINES = 4000  # contours on a page that are looked at; rapidocr's 1000 would cut off full pages
READ_HEIGHT, READ_WIDTH, WIDTH_STEP = 48, 320, 64  # pixels of the recogniser's input: height, least width, steps
SMALL_PX = 30  # rapidocr enlarges lower crops, and rounds their sides by itself
GREY = (127, 127, 127)  # nearly 0 for the recogniser, which pads with it


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
        """threads: of one call; 0 leaves it to OpenVINO. Raises StartupError for a missing or broken package."""
        for package in ("openvino", "rapidocr"):
            with optional("Reading text", package, extra="ocr", error=StartupError):
                importlib.import_module(package)
        with optional("Reading text", "rapidocr", extra="ocr", error=StartupError):
            self._open(threads)
        self.version = f"rapidocr {version('rapidocr')}"

    def _open(self, threads: int) -> None:
        from rapidocr import EngineType, RapidOCR
        from rapidocr.ch_ppocr_cls import TextClassifier
        from rapidocr.ch_ppocr_det import TextDetector
        from rapidocr.main import root_dir

        params: dict[str, Any] = {
            "Global.log_level": "warning",
            "Global.max_side_len": 100_000,  # lines that are longer than 2000 px are not reduced
            "Det.max_candidates": MAX_LINES,
            "Cls.cls_batch_num": 1,
            "EngineConfig.openvino.inference_num_threads": threads or -1,
            "EngineConfig.openvino.num_streams": 1,
        }
        for part, model in MODELS.items():
            params[f"{part}.engine_type"] = EngineType.OPENVINO
            params[f"{part}.model_path"] = str(Path(root_dir, "models", f"{model}.onnx"))
        self._reader: Any = RapidOCR(params=params)
        config = self._reader.cfg
        config.Det.engine_cfg = config.Cls.engine_cfg = config.EngineConfig.openvino
        self._detector: Any = TextDetector(config.Det)
        self._classifier: Any = TextClassifier(config.Cls)
        self.read([np.full((READ_HEIGHT, READ_WIDTH, 3), 255, np.uint8)])  # loads the recogniser, too

    def detect(self, rgb: Rgb, *, is_cancelled: Callable[[], bool] = lambda: False) -> list[TextLine]:
        """The lines of text on a page, uint8 (H, W, 3), in reading order; empty if there are none.

        is_cancelled: asked before each tile, a third of a second on two cores; True ends with an empty list.
        A page of 16 megapixels takes 470 MiB beside the opened engine's 256 MiB (docs/performance.md).
        """
        lines = find_lines(self._detector.session, self._detector.postprocess_op, _bgr(rgb), is_cancelled)
        outlines = upright([outline for outline, _ in lines], rgb, self._upside_down, self._sureness)
        return [TextLine(outlines[index], lines[index][1]) for index in reading_order(outlines)]

    def read(self, crops: Iterable[Rgb]) -> list[Reading]:
        """The text of each crop, uint8 (H, W, 3), one line each, in order; independent of the other crops.

        Batches of 6 take 5.5 s of processor time for 400 crops instead of 7.9, but change 17 % of long, hard lines
        against the readings one by one, on which the calibrations rest; so they are not used.
        """
        return [self._read_one(crop) for crop in crops]

    def _read_one(self, crop: Rgb) -> Reading:
        """A long line is read in pieces; its confidence is that of the piece that is least sure."""
        read = [reading for piece in pieces(crop) if (reading := self._read_piece(piece)).text]
        if not read:
            return NOTHING
        return Reading(" ".join(reading.text for reading in read), min(reading.confidence for reading in read))

    def _read_piece(self, piece: Rgb) -> Reading:
        found = self._reader(_stepped(_bgr(piece)), use_det=False, use_cls=False, use_rec=True)
        if not found.txts or not found.txts[0]:
            return NOTHING
        return Reading(str(found.txts[0]), round(float(found.scores[0]), 4))

    def _upside_down(self, crops: Sequence[Rgb]) -> npt.NDArray[np.float64]:
        labels = self._classifier([_bgr(crop) for crop in crops]).cls_res  # ("0" or "180", its probability)
        return np.array([sure if label == "180" else 1 - sure for label, sure in labels], np.float64)

    def _sureness(self, crops: Sequence[Rgb]) -> npt.NDArray[np.float64]:
        return np.array([reading.confidence for reading in self.read(crops)], np.float64)


def _bgr(rgb: Rgb) -> Rgb:
    return np.ascontiguousarray(rgb[:, :, ::-1])  # PP-OCR was trained on pictures loaded by OpenCV


def _stepped(bgr: Rgb) -> Rgb:
    """The crop, padded so that its width for the recogniser is a multiple of WIDTH_STEP.

    Each width is compiled once and kept: 400 crops took 160 MiB in this way, and 530 MiB without.
    """
    height, width = bgr.shape[:2]
    wanted = -(-width * READ_HEIGHT // height // WIDTH_STEP) * WIDTH_STEP
    if height < SMALL_PX or wanted <= READ_WIDTH:
        return bgr
    more = -(-wanted * height // READ_HEIGHT) - width
    return np.asarray(cv2.copyMakeBorder(bgr, 0, 0, 0, max(0, more), cv2.BORDER_CONSTANT, value=GREY))
