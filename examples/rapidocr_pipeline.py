"""RapidOCR with the service between its detector and its recogniser.

    text-telescope serve &
    python -m examples.rapidocr_pipeline [PAGE] --url http://127.0.0.1:8000

PP-OCRv6 detection -> crops -> Text Telescope -> PP-OCRv6 recognition. The package `rapidocr` contains the models.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from rapidocr import RapidOCR
from rapidocr.utils.output import RapidOCROutput
from text_telescope import TelescopeClient

from examples import pipelines

QUIET = {"Global.log_level": "error"}


class SharpRapidOCR(RapidOCR):
    """RapidOCR that super-resolves the crops it then reads better, and reads all others unchanged."""

    def __init__(self, telescope: TelescopeClient, **options: Any) -> None:  # noqa: ANN401  RapidOCR's
        super().__init__(**options)
        self.telescope = telescope

    def recognize_txt(self, crops: list[np.ndarray]) -> Any:  # noqa: ANN401  the package's own type
        return super().recognize_txt(self.telescope.super_resolve(crops, recogniser="rapidocr-v6", errors="keep"))


def read(page: np.ndarray, telescope: TelescopeClient | None) -> pipelines.Texts:
    """page: uint8 (H, W, 3) BGR."""
    ocr = SharpRapidOCR(telescope, params=QUIET) if telescope else RapidOCR(params=QUIET)
    found = ocr(page)
    if not isinstance(found, RapidOCROutput) or found.boxes is None or found.txts is None:  # no text on the page
        return {}
    return {pipelines.corners(box): text for box, text in zip(found.boxes, found.txts, strict=True)}


if __name__ == "__main__":
    raise SystemExit(pipelines.main(None, name="rapidocr_pipeline", read=read))
