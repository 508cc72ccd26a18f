import numpy as np
import pytest

from app.ocr.engine import NOTHING, OcrEngine
from app.ocr.pieces import LONGEST, pieces
from tests.app.ocr.conftest import page_of


def test_a_line_of_usual_length_is_read_as_a_whole() -> None:
    line = np.zeros((20, 20 * LONGEST, 3), np.uint8)
    (piece,) = pieces(line)
    assert piece is line


def test_a_long_line_is_cut_between_words_and_loses_none() -> None:
    line = np.full((20, 40 * 100, 3), 255, np.uint8)
    for start in range(0, 4000, 100):
        line[5:15, start + 10 : start + 90] = np.random.default_rng(0).integers(0, 100, (10, 80, 3))
    cut = pieces(line)
    assert len(cut) == 4
    assert np.array_equal(np.concatenate(cut, axis=1), line)
    assert all((piece[:, 0] == 255).all() for piece in cut)


def test_a_long_line_is_read_whole(engine: OcrEngine) -> None:
    page = page_of([("The quick brown fox " * 20, (10, 10))], font_px=20, height=40, width=4200)
    (reading,) = engine.read([page])
    assert reading.text.split() == ["The", "quick", "brown", "fox"] * 20
    assert reading.confidence > 0.9


@pytest.mark.parametrize("size", [(4, 20_000), (20_000, 4), (1, 1)])
def test_a_strip_that_cannot_be_a_line_is_read_as_nothing_at_once(
    engine: OcrEngine, size: tuple[int, int]
) -> None:
    assert engine.read([np.full((*size, 3), 255, np.uint8)]) == [NOTHING]
