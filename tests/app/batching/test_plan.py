from itertools import combinations_with_replacement

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.batching.plan import WORTH_SPLITTING, BatchPlan


@pytest.mark.parametrize(
    ("seconds", "waiting", "first"),
    [
        ({1: 1.0, 4: 2.0}, 3, 4),  # padding by one is cheaper than three singles
        ({1: 1.0, 4: 2.0}, 1, 1),
        ({1: 1.0, 4: 2.0}, 5, 4),
        ({1: 1.0, 4: 3.9}, 2, 1),  # padding by two is not worth it
        ({1: 1.0, 2: 2.05, 4: 4.1}, 4, 4),  # within the noise: fewer calls
        ({1: 1.0, 2: 4.0}, 2, 1),  # a size that is slower than its parts is never chosen
    ],
)
def test_the_first_batch_is_padded_or_split_by_measured_time(
    seconds: dict[int, float], waiting: int, first: int
) -> None:
    assert BatchPlan(seconds, max_items=16).first(waiting) == first


times = st.dictionaries(st.sampled_from([2, 3, 4, 8]), st.floats(0.1, 10), max_size=3).flatmap(
    lambda others: st.floats(0.1, 10).map(lambda single: {1: single, **others})
)


@given(times, st.integers(1, 8))
def test_the_cost_is_the_cheapest_of_all_ways_to_run_them(seconds: dict[int, float], waiting: int) -> None:
    ways = (
        way
        for batches in range(1, waiting + 1)
        for way in combinations_with_replacement(seconds, batches)
        if sum(way) >= waiting
    )
    cheapest = min(sum(seconds[size] for size in way) for way in ways)
    assert BatchPlan(seconds, max_items=8).cost(waiting) == pytest.approx(cheapest)


@given(times, st.integers(1, 32))
def test_following_the_plan_costs_at_most_the_tolerance_a_step(seconds: dict[int, float], waiting: int) -> None:
    plan = BatchPlan(seconds, max_items=32)
    first = plan.first(waiting)
    rest = plan.cost(max(0, waiting - first))
    assert seconds[first] + rest <= plan.cost(waiting) * WORTH_SPLITTING + 1e-9


def test_beyond_the_table_the_cost_grows_in_proportion() -> None:
    plan = BatchPlan({1: 1.0}, max_items=4)
    assert plan.cost(8) == pytest.approx(8.0)
