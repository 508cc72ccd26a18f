from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from app.ocr.detector import TILE, find_lines
from app.ocr.engine import OcrEngine
from tests.app.ocr.conftest import page_of

SENTENCE = "Paid to Miller and Sons in Berlin"


class Network:
    """Text at the dark pixels."""

    def __init__(self) -> None:
        self.sizes: list[tuple[int, ...]] = []

    def __call__(self, nchw: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        self.sizes.append(nchw.shape[2:])
        return (nchw[:, :1] < 0).astype(np.float32)


class Outliner:
    """The boxes of all text, and the maps that it was given."""

    def __init__(self) -> None:
        self.maps: list[npt.NDArray[Any]] = []

    def __call__(self, found: npt.NDArray[np.float32], size: tuple[int, int]) -> tuple[list[Any], list[float]]:
        self.maps.append(found[0, 0])
        return [], []


@pytest.mark.parametrize("size", [(4, 4), (700, 3000), (4000, 4000), (100, 16000)])
def test_the_network_gets_few_sizes_and_the_map_is_put_together_without_a_seam(size: tuple[int, int]) -> None:
    network, outliner = Network(), Outliner()
    page = np.random.default_rng(0).choice(np.array([0, 255], np.uint8), size)
    assert find_lines(network, outliner, np.stack([page] * 3, axis=2), lambda: False) == []
    assert {side for sides in network.sizes for side in sides} <= {320, 640, TILE}
    full_scale = next(found for found in outliner.maps if found.shape == size)
    np.testing.assert_array_equal(full_scale, page == 0)


def test_a_cancelled_page_stops_before_its_next_tile() -> None:
    network = Network()
    page = np.zeros((3000, 3000, 3), np.uint8)
    assert find_lines(network, Outliner(), page, lambda: len(network.sizes) >= 2) == []
    assert len(network.sizes) == 2


@pytest.mark.slow
@pytest.mark.parametrize("font_px", [12, 24, 260])
def test_small_and_large_print_of_a_large_page_is_found_whole(engine: OcrEngine, font_px: float) -> None:
    text, height = (SENTENCE, 900) if font_px < 100 else ("Pa", 1000)
    page = page_of([(text, (500, 400))], height=height, width=1000, font_px=font_px)
    (line,) = engine.detect(page)
    rows, columns = np.nonzero(page.min(axis=2) < 128)
    assert abs(line.outline[0] - (columns.min(), rows.min())).max() < 0.5 * font_px
    assert abs(line.outline[2] - (columns.max(), rows.max())).max() < 0.5 * font_px


def test_a_blurred_paragraph_is_found_as_its_lines(engine: OcrEngine) -> None:
    page = page_of([(SENTENCE, (40, 40 + 48 * i)) for i in range(5)], height=320, width=900, font_px=32)
    blurred = np.asarray(cv2.GaussianBlur(page, (0, 0), 4.5), np.uint8)
    assert len(engine.detect(blurred)) == 5
