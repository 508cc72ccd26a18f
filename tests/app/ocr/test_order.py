import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.imaging.outlines import Points
from app.ocr.order import reading_order

Box = tuple[float, float, float, float]  # left, top, right, bottom
PAGE = (400, 300)  # its middle, around which it is turned


def outline(box: Box) -> Points:
    left, top, right, bottom = box
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float64)


def turned(points: Points, degrees: float) -> Points:
    matrix = cv2.getRotationMatrix2D(PAGE, degrees, 1)
    return points @ matrix[:, :2].T + matrix[:, 2]


def lines(left: float, right: float, *, top: float = 100, count: int = 6, step: float = 30) -> list[Box]:
    return [(left, top + i * step, right, top + i * step + 20) for i in range(count)]


TITLE, FOOTER = (40.0, 30.0, 700.0, 70.0), (60.0, 520.0, 650.0, 540.0)
TWO_COLUMNS = [TITLE, *lines(20, 380), *lines(420, 780, top=107), FOOTER]
THREE_COLUMNS = [box for x in (0, 270, 540) for box in lines(x, x + 240)]
TABLE = [(x, 100 + 30 * row, x + 70, 120 + 30 * row) for row in range(5) for x in (20, 220, 420, 620)]
RECEIPT = [
    box for i in range(6) for box in ((10, 40 + 25 * i, 200, 57 + 25 * i), (330, 38 + 25 * i, 380, 59 + 25 * i))
]


@pytest.mark.parametrize("degrees", [0, 3, -3, 90, 180, 270])
@pytest.mark.parametrize(
    "page", [TWO_COLUMNS, THREE_COLUMNS, TABLE, RECEIPT], ids=["two", "three", "table", "receipt"]
)
def test_lines_are_read_by_column_or_row_however_the_page_is_turned(page: list[Box], degrees: float) -> None:
    shuffled = np.random.default_rng(0).permutation(len(page))
    order = reading_order([turned(outline(page[index]), degrees) for index in shuffled])
    assert [int(shuffled[index]) for index in order] == list(range(len(page)))


def test_words_of_one_row_with_other_heights_stay_in_their_row() -> None:
    row = [(0, 100, 90, 130), (100, 108, 130, 128), (140, 96, 300, 134)]  # a capital, an "a", a word with both
    assert reading_order([outline(box) for box in reversed([*row, (0, 140, 300, 170)])]) == [3, 2, 1, 0]


@given(st.lists(st.tuples(*[st.floats(0, 500)] * 2, st.floats(1, 300), st.floats(1, 40)), max_size=30))
def test_every_line_is_read_once(places: list[Box]) -> None:
    order = reading_order([outline((x, y, x + width, y + height)) for x, y, width, height in places])
    assert sorted(order) == list(range(len(places)))


def test_a_page_without_lines_has_no_order() -> None:
    assert reading_order([]) == []
