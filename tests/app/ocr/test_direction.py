from collections.abc import Sequence

import numpy as np
import pytest

from app.ocr.direction import Sureness, upright
from model_store.pixels import Rgb

PAGE = np.zeros((400, 400, 3), np.uint8)
PAGE[:, :200] = 255  # so that the beginnings of lines are lighter than their ends


def light_is_upside_down(crops: Sequence[Rgb]) -> np.ndarray:
    return np.array([crop[:, 0].mean() / 255 for crop in crops])


def surer_of_dark_beginnings(crops: Sequence[Rgb]) -> np.ndarray:
    return 1 - light_is_upside_down(crops)


def turned_lines(count: int, *, sureness: Sureness) -> list[bool]:
    lines = [
        np.array([[150, y], [250, y], [250, y + 30], [150, y + 30]], float) for y in range(20, 20 + 50 * count, 50)
    ]
    turned = upright(lines, PAGE, light_is_upside_down, sureness)
    assert [line.min() for line in turned] == [line.min() for line in lines]
    return [bool(line[0, 0] > line[1, 0]) for line in turned]


@pytest.mark.parametrize(("count", "starts_at_the_right"), [(3, False), (4, True)])
def test_too_few_lines_to_be_sure_of_are_left_upright(count: int, starts_at_the_right: bool) -> None:
    assert turned_lines(count, sureness=surer_of_dark_beginnings) == [starts_at_the_right] * count


def test_lines_that_are_read_more_surely_as_they_are_are_not_turned() -> None:
    assert turned_lines(4, sureness=light_is_upside_down) == [False] * 4
