"""Changes between two readings of the same words, with intervals over words."""

import numpy as np
import pytest

from training.paired import Difference, difference


def test_the_change_lies_within_its_interval() -> None:
    found = difference(np.array([0.0, -1, 1, 1, 0, 0, 0, 0, 0, 0]))
    assert found.points == pytest.approx(10)
    assert found.low < 10 < found.high


def test_an_unchanged_reading_has_no_change() -> None:
    found = difference(np.zeros(50))
    assert found == Difference(0, 0, 0)
    assert found.text() == "0"


def test_pages_count_by_their_characters() -> None:
    found = difference(np.array([10.0, 0.0]), np.array([10.0, 90.0]))
    assert found.points == pytest.approx(10)
    assert (found.low, found.high) == (0, 100)


def test_an_interval_without_0_is_bold() -> None:
    assert Difference(1.94, 1.0, 2.8).text() == "**+1.9 (+1.0 to +2.8)**"
    assert Difference(1.94, 1.0, 2.8).text(bold=False) == "+1.9 (+1.0 to +2.8)"
    assert Difference(-0.08, -0.2, 0.0).text(2) == "-0.08 (-0.20 to +0.00)"
    assert Difference(-0.04, -0.2, 0.1).text() == "+0.0 (-0.2 to +0.1)"
