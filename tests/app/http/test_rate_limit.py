"""A key's limits on an injected clock."""

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


def ask(limit: RateLimit, images: int = 1) -> None:
    limit.enter(wait_s=7)
    limit.leave(images=images)


def refused_for(limit: RateLimit) -> int:
    with pytest.raises(RateLimited) as caught:
        ask(limit)
    assert f"try again in {caught.value.retry_after_s} s." in str(caught.value)
    return caught.value.retry_after_s


def test_after_a_burst_requests_come_at_the_rate(clock: Clock) -> None:
    limit = RateLimit(max_concurrency=0, rate_per_s=0.5, burst=3, clock=clock)
    for _ in range(3):
        ask(limit)
    assert refused_for(limit) == 2
    clock.now += 1.9
    assert refused_for(limit) == 1
    clock.now += 0.1
    ask(limit)
    assert refused_for(limit) == 2


def test_a_request_after_the_stated_wait_is_admitted(clock: Clock) -> None:
    limit = RateLimit(max_concurrency=0, rate_per_s=0.3, burst=1, clock=clock)
    for _ in range(50):
        ask(limit)
        clock.now += refused_for(limit)


def test_a_request_pays_for_each_of_its_images(clock: Clock) -> None:
    limit = RateLimit(max_concurrency=0, rate_per_s=2, burst=4, clock=clock)
    ask(limit, images=20)
    assert refused_for(limit) == 9  # 4 - 20 + 9 * 2 >= 1
    clock.now += 9
    ask(limit)


def test_a_refused_request_costs_nothing(clock: Clock) -> None:
    limit = RateLimit(max_concurrency=0, rate_per_s=1, burst=1, clock=clock)
    ask(limit)
    for _ in range(10):
        assert refused_for(limit) == 1
    clock.now += 1
    ask(limit)


def test_a_long_rest_saves_no_more_than_the_burst(clock: Clock) -> None:
    limit = RateLimit(max_concurrency=0, rate_per_s=10, burst=2, clock=clock)
    clock.now += 3600
    ask(limit)
    ask(limit)
    refused_for(limit)


def test_requests_in_flight_are_limited_until_they_end(clock: Clock) -> None:
    limit = RateLimit(max_concurrency=1, rate_per_s=0, burst=1, clock=clock)
    for _ in range(3):
        limit.enter(wait_s=7)
        assert refused_for(limit) == 7
        limit.leave(images=1)
    ask(limit)


def test_without_limits_nothing_is_refused(clock: Clock) -> None:
    limit = RateLimit(max_concurrency=0, rate_per_s=0, burst=1, clock=clock)
    for _ in range(1000):
        ask(limit, images=64)
