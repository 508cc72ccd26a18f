"""A key's limits on an injected clock."""

from contextlib import suppress

import pytest

from app.errors import RateLimited
from app.http.rate_limit import RateLimit


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def ask(allowance: RateLimit, images: int = 1) -> None:
    with allowance.request(images=lambda: images, turn_s=lambda: 7):
        pass


def refused_for(allowance: RateLimit) -> int:
    with pytest.raises(RateLimited) as caught:
        ask(allowance)
    assert f"try again in {caught.value.retry_after_s} s." in str(caught.value)
    return caught.value.retry_after_s


def test_after_a_burst_requests_come_at_the_rate(clock: Clock) -> None:
    allowance = RateLimit(max_concurrency=0, rate_per_s=0.5, burst=3, clock=clock)
    for _ in range(3):
        ask(allowance)
    assert refused_for(allowance) == 2
    clock.now += 1.9
    assert refused_for(allowance) == 1
    clock.now += 0.1
    ask(allowance)
    assert refused_for(allowance) == 2


def test_whoever_comes_after_the_time_that_was_told_is_let_in(clock: Clock) -> None:
    allowance = RateLimit(max_concurrency=0, rate_per_s=0.3, burst=1, clock=clock)
    for _ in range(50):
        ask(allowance)
        clock.now += refused_for(allowance)


def test_a_request_pays_for_each_of_its_images(clock: Clock) -> None:
    allowance = RateLimit(max_concurrency=0, rate_per_s=2, burst=4, clock=clock)
    ask(allowance, images=20)
    assert refused_for(allowance) == 9  # 4 - 20 + 9 * 2 >= 1
    clock.now += 9
    ask(allowance)


def test_a_refused_request_costs_nothing(clock: Clock) -> None:
    allowance = RateLimit(max_concurrency=0, rate_per_s=1, burst=1, clock=clock)
    ask(allowance)
    for _ in range(10):
        assert refused_for(allowance) == 1
    clock.now += 1
    ask(allowance)


def test_a_long_rest_saves_no_more_than_the_burst(clock: Clock) -> None:
    allowance = RateLimit(max_concurrency=0, rate_per_s=10, burst=2, clock=clock)
    clock.now += 3600
    ask(allowance)
    ask(allowance)
    refused_for(allowance)


def test_requests_in_flight_are_limited_and_leave_room_however_they_end(clock: Clock) -> None:
    allowance = RateLimit(max_concurrency=1, rate_per_s=0, burst=1, clock=clock)
    for _ in range(3):
        with suppress(ZeroDivisionError), allowance.request(images=lambda: 1, turn_s=lambda: 7):
            assert refused_for(allowance) == 7
            raise ZeroDivisionError
    ask(allowance)


def test_without_limits_nothing_is_refused(clock: Clock) -> None:
    allowance = RateLimit(max_concurrency=0, rate_per_s=0, burst=1, clock=clock)
    for _ in range(1000):
        ask(allowance, images=64)
