"""What a change is worth, with intervals over words."""

import numpy as np
import pytest

from bench.paired import difference, mcnemar


def test_words_gained_and_lost_are_counted_apart() -> None:
    before = np.array([True, True, False, False, False, True, True, True, True, True])
    after = np.array([True, False, True, True, False, True, True, True, True, True])
    found = difference(before, after)
    assert (found.fixed, found.broken, found.points) == (2, 1, pytest.approx(10))
    assert found.low < 10 < found.high


def test_nothing_changed_is_a_difference_of_nothing() -> None:
    same = np.array([True, False] * 50)
    found = difference(same, same)
    assert (found.points, found.low, found.high, found.p) == (0, 0, 0, 1)


def test_the_exact_p_is_that_of_a_fair_coin() -> None:
    assert mcnemar(0, 5) == pytest.approx(2 / 32)
    assert mcnemar(3, 3) == 1
    assert mcnemar(10, 2) == pytest.approx(2 * (1 + 12 + 66) / 4096)


def test_one_word_in_eight_subsets_is_no_eight_words() -> None:
    draw = np.random.default_rng(0)
    before, after = draw.random(100) < 0.5, draw.random(100) < 0.5
    alone = difference(before, after)
    repeated = difference(np.tile(before, (8, 1)), np.tile(after, (8, 1)))
    assert repeated.high - repeated.low == pytest.approx(alone.high - alone.low)
