from collections.abc import Sequence

import numpy as np
import pytest

from app.ocr.direction import upright
from model_store.pixels import Rgb

PAGE = np.zeros((400, 400, 3), np.uint8)
PAGE[:, :200] = 255  # so that the beginnings of lines are lighter than their ends


def light_is_upside_down(crops: Sequence[Rgb]) -> np.ndarray:
    return np.array([crop[:, 0].mean() / 255 for crop in crops])


@pytest.mark.parametrize(("count", "starts_at_the_right"), [(3, False), (4, True)])
def test_too_few_lines_to_be_sure_of_are_left_upright(count: int, starts_at_the_right: bool) -> None:
    lines = [
        np.array([[150, y], [250, y], [250, y + 30], [150, y + 30]], float) for y in range(20, 20 + 50 * count, 50)
    ]
    turned = upright(lines, PAGE, light_is_upside_down)
    assert all((line[0, 0] > line[1, 0]) == starts_at_the_right for line in turned)
    assert [line.min() for line in turned] == [line.min() for line in lines]
