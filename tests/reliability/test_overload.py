"""Three times what the predictor can answer comes in, and it answers as much as it can, in time and in turn."""

import pytest

from tests.reliability.overload import CAPACITY_PER_S, flood, share_with

pytestmark = pytest.mark.reliability


@pytest.mark.parametrize("within_s", [0.2, 1])
def test_a_flood_costs_no_goodput_and_whoever_is_let_in_is_answered_in_time(within_s: float) -> None:
    seen = flood(3, within_s=within_s, seconds=4)
    assert seen.goodput_per_s > 0.95 * CAPACITY_PER_S
    assert seen.expired == seen.mixed == 0
    assert len(seen.waits_s) + seen.refused == seen.offered
    assert seen.refused > seen.offered / 2
    assert min(seen.retries_after_s) >= 1


def test_below_its_capacity_the_service_refuses_nobody() -> None:
    seen = flood(0.8, seconds=4)
    assert seen.refused == seen.expired == 0


def test_single_images_share_with_a_client_of_sixty_four_at_a_time() -> None:
    alone, _ = share_with(singles=32, large=0, seconds=4)
    singles, large = share_with(singles=32, large=1, seconds=4)
    assert singles.wait_s(0.99) < 3 * alone.wait_s(0.99)
    assert singles.goodput_per_s > 0.5 * alone.goodput_per_s
    assert large.goodput_per_s > 0.25 * CAPACITY_PER_S  # nor is it starved
    assert singles.refused == singles.expired == large.refused == large.expired == 0
