"""PaddleOCR's PP-OCRv4 on Paddle Inference, with the service between its detector and its recogniser.

    text-telescope serve &
    python -m examples.paddleocr_pipeline [PAGE] --url http://127.0.0.1:8000

PP-OCRv4 detection -> crops -> Text Telescope -> PP-OCRv4 recognition. `rapidocr-paddle` contains PaddleOCR's
models; `paddleocr` downloads them. Both call their recogniser with a list of crops, so the wrapper fits both:
`client/README.md` has the lines for `paddleocr`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from rapidocr_paddle import RapidOCR  # type: ignore[import-untyped]  # it has no types
from text_telescope import TelescopeClient

from examples import pipelines


class SharpRecogniser:
    """Super-resolves the crops that PP-OCRv4 then reads better, and passes all others on unchanged."""

    def __init__(self, recogniser: Callable[..., Any], telescope: TelescopeClient) -> None:
        self.recogniser = recogniser
        self.telescope = telescope

    def __call__(self, crops: Sequence[np.ndarray], *args: Any, **options: Any) -> Any:  # noqa: ANN401  the recogniser's own
        return self.recogniser(
            self.telescope.super_resolve(crops, recogniser="rapidocr-v4", errors="keep"), *args, **options
        )


def read(page: np.ndarray, telescope: TelescopeClient | None) -> pipelines.Texts:
    """page: uint8 (H, W, 3) BGR."""
    ocr = RapidOCR()
    if telescope:
        ocr.text_rec = SharpRecogniser(ocr.text_rec, telescope)
    lines, _ = ocr(page)
    return {pipelines.corners(box): text for box, text, _ in lines or []}


if __name__ == "__main__":
    raise SystemExit(pipelines.main(None, name="paddleocr_pipeline", read=read))
