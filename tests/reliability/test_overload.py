"""At three times the capacity the predictor runs as much as it can, in time and in turn."""

from collections.abc import Sequence

import pytest

from tests.reliability.overload import CAPACITY_PER_S, MIX, SECONDS, flood, share_with

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("within_s", [0.2, 1])
def test_a_flood_costs_no_goodput_and_admitted_requests_are_in_time(within_s: float) -> None:
    seen = flood(3, within_s=within_s, seconds=2)
    assert seen.goodput_per_s > 0.95 * CAPACITY_PER_S
    assert seen.expired == seen.mixed == 0
    assert len(seen.waits_s) + seen.refused == seen.offered
    assert seen.refused > seen.offered / 2
    assert min(seen.retries_after_s) >= 1


@pytest.mark.parametrize("sizes", [MIX, (1, 1, 1, 64), (17, 3, 1)])
def test_a_flood_of_requests_of_mixed_sizes_costs_no_goodput(sizes: Sequence[int]) -> None:
    seen = flood(3, sizes=sizes, within_s=1, seconds=10)
    assert seen.goodput_per_s > 0.9 * CAPACITY_PER_S
    assert seen.expired == seen.mixed == 0
    assert len(seen.waits_s) + seen.refused == seen.offered
    for size in sizes:
        assert seen.finished[size] > 5, "requests of this size are always refused"


def test_below_its_capacity_the_service_refuses_no_request() -> None:
    seen = flood(0.8, seconds=4)
    assert seen.refused == seen.expired == 0


@pytest.mark.parametrize("large", [1, 8])
def test_single_images_wait_at_most_two_batches_longer_because_of_large_requests(large: int) -> None:
    alone, _ = share_with(singles=32, large=0)
    singles, pages = share_with(singles=32, large=large)
    assert singles.wait_s(0.99) < alone.wait_s(0.99) + 2 * SECONDS[16]
    assert singles.goodput_per_s + pages.goodput_per_s > 0.9 * CAPACITY_PER_S
    assert singles.refused == singles.expired == pages.refused == pages.expired == 0


@pytest.mark.parametrize("large", [1, 8])
def test_a_large_request_among_single_images_has_a_turn_in_every_round(large: int) -> None:
    """64 images take 64 rounds; in each round every client runs one image."""
    _, pages = share_with(singles=32, large=large)
    assert pages.wait_s(0.99) < 64 * (32 + large) / CAPACITY_PER_S
    assert pages.expired == 0
